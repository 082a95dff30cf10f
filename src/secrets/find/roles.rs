//! What a place of a document is for, as its format has it.

use crate::domain::format::{Format, json::Container};

/// The role of a value. A value of another shape than its role asks for is [`Role::Free`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Somebody's data: searched, and sealed where something is found. So is all below.
    Free,
    /// What the tools find their way by: never sealed, nor anything below.
    Structure,
    /// The outermost value of Terraform or Pulumi.
    Root,

    Outputs,
    Output,
    /// The type of an output's value: sealed whole or not at all.
    OutputType,
    Resources,
    Resource,
    Instances,
    Instance,
    /// Attributes by name. The names are the provider's.
    Attributes,
    /// Attributes as old states have them: `tags.Name`, `ports.0`.
    Flat,
    /// `sensitive_attributes`.
    Marks,
    MarkPath,
    MarkStep,
    MarkIndex,
    Checks,
    Check,
    CheckObjects,
    CheckObject,

    Checkpoint,
    Deployment,
    Pending,
    Operation,
    PulumiResources,
    PulumiResource,
    /// The inputs or outputs of a resource, by name. The names are the provider's.
    Properties,
}

use Role::*;

/// The key that marks an object as something else than a plain one, and its value for a secret.
pub(super) const SIGNATURE: &[u8] = b"4dabf18193072939515e22adb298388d";
pub(super) const SECRET: &[u8] = b"1b47061264138c4ac30d75fd1eb44270";

impl Role {
    /// The role of the outermost value.
    pub(super) fn outermost(format: Format, kind: Option<Container>) -> Role {
        match format {
            Format::Terraform | Format::Pulumi if kind == Some(Container::Object) => Root,
            _ => Free,
        }
    }

    /// The role of what stands under `key`, or in an array; `kind` is none for a leaf.
    pub(super) fn inside(self, format: Format, key: Option<&[u8]>, kind: Option<Container>) -> Role {
        if let Free | Structure | OutputType = self {
            return self;
        }
        let role = match key {
            Some(key) => self.member(format, key),
            None => self.element(),
        };
        match (role, kind) {
            (MarkIndex, None) => Structure,
            (role, kind) if role.needs().is_none_or(|needed| kind == Some(needed)) => role,
            _ => Free,
        }
    }

    fn member(self, format: Format, key: &[u8]) -> Role {
        match (self, key) {
            (Root, b"version") => Structure,
            (Root, b"serial" | b"lineage" | b"terraform_version") if format == Format::Terraform => Structure,
            (Root, b"outputs") if format == Format::Terraform => Outputs,
            (Root, b"resources") if format == Format::Terraform => Resources,
            (Root, b"check_results") if format == Format::Terraform => Checks,
            (Outputs, _) => Output,
            (Output, b"type") => OutputType,
            (Output, b"sensitive") => Structure,
            (Resource, b"module" | b"mode" | b"type" | b"name" | b"provider" | b"each") => Structure,
            (Resource, b"instances") => Instances,
            (Instance, b"attributes") => Attributes,
            (Instance, b"attributes_flat") => Flat,
            (Instance, b"sensitive_attributes") => Marks,
            (
                Instance,
                b"index_key"
                | b"status"
                | b"deposed"
                | b"provider"
                | b"schema_version"
                | b"identity_schema_version"
                | b"dependencies"
                | b"depends_on"
                | b"create_before_destroy"
                | b"skip_destroy",
            ) => Structure,
            (MarkStep, b"type") => Structure,
            (MarkStep, b"value") => MarkIndex,
            (MarkIndex, b"type") => Structure,
            (Check, b"object_kind" | b"config_addr" | b"status") => Structure,
            (Check, b"objects") => CheckObjects,
            (CheckObject, b"object_addr" | b"status") => Structure,

            (Root, b"deployment") => Deployment,
            (Root, b"checkpoint") => Checkpoint,
            (Checkpoint, b"stack") => Structure,
            (Checkpoint, b"latest") => Deployment,
            (Deployment, b"manifest") => Structure,
            (Deployment, b"resources") => PulumiResources,
            (Deployment, b"pending_operations") => Pending,
            (Operation, b"resource") => PulumiResource,
            (Operation, b"type") => Structure,
            (PulumiResource, b"inputs" | b"outputs") => Properties,
            (PulumiResource, key) if PULUMI_STRUCTURE.contains(&key) => Structure,
            _ => Free,
        }
    }

    fn element(self) -> Role {
        match self {
            Resources => Resource,
            Instances => Instance,
            Marks => MarkPath,
            MarkPath => MarkStep,
            Checks => Check,
            CheckObjects => CheckObject,
            PulumiResources => PulumiResource,
            Pending => Operation,
            _ => Free,
        }
    }

    fn needs(self) -> Option<Container> {
        match self {
            Free | Structure | OutputType => None,
            Resources | Instances | Marks | MarkPath | Checks | CheckObjects | Pending | PulumiResources => {
                Some(Container::Array)
            }
            _ => Some(Container::Object),
        }
    }

    /// Whether a value with this role may be sealed whole.
    pub(super) fn is_content(self) -> bool {
        matches!(self, Free | Attributes | Flat | Properties | OutputType)
    }

    /// Whether the keys of an object with this role are somebody's data.
    pub(super) fn has_free_keys(self) -> bool {
        matches!(self, Free | Flat | OutputType)
    }

    /// Whether the keys of an object with this role are names that somebody has chosen but cannot be sealed.
    pub(super) fn has_names(self) -> bool {
        matches!(self, Outputs | Attributes | Properties)
    }
}

/// What a resource of Pulumi is known and ordered by. `id`, `initErrors` and the like may hold secrets.
const PULUMI_STRUCTURE: &[&[u8]] = &[
    b"additionalSecretOutputs",
    b"aliases",
    b"created",
    b"custom",
    b"customTimeouts",
    b"delete",
    b"deletedWith",
    b"dependencies",
    b"external",
    b"hideDiff",
    b"ignoreChanges",
    b"modified",
    b"parent",
    b"pendingReplacement",
    b"propertyDependencies",
    b"protect",
    b"provider",
    b"refreshBeforeUpdate",
    b"replaceOnChanges",
    b"resourceHooks",
    b"retainOnDelete",
    b"sourcePosition",
    b"stackTrace",
    b"taint",
    b"type",
    b"urn",
    b"viewOf",
];
