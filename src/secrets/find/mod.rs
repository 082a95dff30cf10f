//! Finds every secret in a document: what the format marks, what rules on names and shapes find, what was sealed before, and wherever else
//! any of that stands in the same document. Nothing is learnt from other documents.
//!
//! The passes, each over the original bytes and each in linear time:
//!
//! | module | what it does |
//! |---|---|
//! | `survey` | checks the JSON, and records it for the passes below (`tape`); what has to be known of objects before their parts |
//! | `known` | marks (`marks`), rules (`names`, `shapes`, `patterns`), places sealed before (`before`): hits and `seeds` |
//! | `spread` | looks for the seeds (`index`) in all texts and what they encode (`decode`) |
//! | `pairs` | keeps a value and the type beside it together |
//! | `hits` | sorts what was found, and gives it paths (`walk`, `roles`) |

mod before;
mod decode;
mod hits;
mod index;
mod known;
mod lists;
mod marks;
mod names;
mod pairs;
mod patterns;
mod roles;
mod seeds;
mod shapes;
mod spread;
mod survey;
mod tape;
mod walk;

use std::{collections::HashSet, sync::LazyLock};

use self::{
    hits::{Hits, Sealed},
    index::Index,
    known::Known,
    seeds::Seeds,
    spread::{Beside, Everything, Lookup, Spread},
    survey::Survey,
    walk::walk_again,
};
use super::hole::{Hole, JsonType, Reason};
use super::path::{Path, StepKind};
use crate::domain::format::{
    Format,
    json::{JsonError, JsonErrorKind, Span},
};
use crate::domain::rules::SealRule;

/// The revision of what is shipped here: lists, shapes and the rules around them. Raised with every change that may find something else.
pub const REVISION: u32 = 1;

/// From here on, a second thread gains more than it costs.
const LARGE: usize = 1 << 20;

/// How many warnings one search gives at most.
pub const MAX_WARNINGS: usize = 256;

/// How to search a document.
pub struct Search<'a> {
    format: Format,
    rules: &'a [SealRule],
    before: &'a HashSet<Path>,
    keeps: bool,
    switches: Switches,
}

impl<'a> Search<'a> {
    /// A search of a document in this format under the rules of its environment. What stands at a path of `before`, the paths sealed in the
    /// version before, stays sealed.
    #[must_use]
    pub fn new(format: Format, rules: &'a [SealRule], before: &'a HashSet<Path>) -> Self {
        Self { format, rules, before, keeps: false, switches: Switches::default() }
    }

    /// The same for a document that is history: exceptions do not lift what was sealed in it.
    #[must_use]
    pub fn keeping(self, keeps: bool) -> Self {
        Self { keeps, ..self }
    }

    /// The same without parts of it: only to show that a test needs them.
    #[doc(hidden)]
    #[must_use]
    pub fn with_switches(self, switches: Switches) -> Self {
        Self { switches, ..self }
    }
}

/// The parts of a search.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Switches {
    /// What the format marks.
    pub marks: bool,
    /// Names, shapes, and the rules of the environment.
    pub rules: bool,
    /// What is known to be secret, elsewhere.
    pub spread: bool,
    /// A second thread, for large documents: it changes nothing that is found.
    pub beside: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self { marks: true, rules: true, spread: true, beside: true }
    }
}

/// What a search has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The places to seal: in order, none within another, no two with the same path.
    pub holes: Vec<Hole>,
    /// What the writer should know. At most [`MAX_WARNINGS`].
    pub warnings: Vec<Warning>,
    /// The document has more secrets than are searched for: every string that is not structure is sealed, but what a number or a key of an
    /// object holds may have been missed.
    pub overflow: bool,
}

/// Something about a place that its writer should know. Never says what stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What it is.
    pub kind: WarningKind,
    /// Where.
    pub path: Path,
}

/// What a warning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WarningKind {
    /// A mark leads to something that is not there.
    #[error("a mark leads from here to something that is not there; all of this is sealed")]
    MarkUnresolved,
    /// A mark has another shape than marks have.
    #[error("a mark here has a shape that is not known; all that it may mean is sealed")]
    MarkShape,
    /// A known secret stands in a place that is never sealed.
    #[error("a known secret stands here, where nothing can be sealed; use another name, and change the secret")]
    StructuralSecret,
    /// More secrets than are searched for.
    #[error("the document has more secrets than are searched for: every string that is not structure is sealed")]
    Overflow,
}

/// Finds every secret of the document. Takes time in proportion to its length, and at most six times its memory, plus 100 MB.
///
/// # Errors
/// The document is not strict JSON, unless its format is opaque; or longer than 4 GiB.
pub fn find(document: &[u8], search: &Search<'_>) -> Result<Found, JsonError> {
    if search.format == Format::Opaque {
        return opaque(document);
    }
    let survey = Survey::of(document, search.format)?;
    match attempt(document, search, &survey, false)? {
        Some(found) => Ok(found),
        None => Ok(attempt(document, search, &survey, true)?.expect("whole parts are never too many")),
    }
}

fn opaque(document: &[u8]) -> Result<Found, JsonError> {
    let Ok(end) = u32::try_from(document.len()) else {
        return Err(JsonError { at: u32::MAX as usize, kind: JsonErrorKind::TooLong });
    };
    let path = Path::root().child(StepKind::Whole, b"");
    let whole = Hole { span: Span { start: 0, end }, kind: JsonType::Opaque, path, reason: Reason::Whole };
    let holes = if document.is_empty() { Vec::new() } else { vec![whole] };
    Ok(Found { holes, warnings: Vec::new(), overflow: false })
}

/// None if there are too many places to seal one by one.
fn attempt(document: &[u8], search: &Search<'_>, survey: &Survey, coarse: bool) -> Result<Option<Found>, JsonError> {
    let mut warnings = Warnings::default();
    let mut seeds = Seeds::default();
    let mut known = Known::new(document, survey, search, &mut seeds, &mut warnings, coarse);
    walk_again(&survey.tape, document, search.format, &mut known)?;
    let known = known.hits;
    if known.is_too_many() {
        return Ok(None);
    }
    let mut sealed = known.settled();
    let mut overflow = seeds.is_over() && search.switches.spread;
    if search.switches.spread && !seeds.is_empty() {
        let (more, is_spent) = spread_out(document, search, survey, &seeds, &mut sealed, &mut warnings, coarse)?;
        overflow |= is_spent;
        if more.is_too_many() {
            return Ok(None);
        }
        sealed = sealed.with(more);
    }
    if seeds.is_over() && search.switches.spread {
        let mut everything = Everything { hits: Hits::new(coarse) };
        walk_again(&survey.tape, document, search.format, &mut everything)?;
        if everything.hits.is_too_many() {
            return Ok(None);
        }
        sealed = sealed.with(everything.hits);
    }
    if overflow {
        warnings.0.truncate(MAX_WARNINGS - 1);
        warnings.add(WarningKind::Overflow, Path::root);
    }
    let (mut holes, more) = sealed.holes(document, search.format, survey, coarse)?;
    if more.is_too_many() {
        return Ok(None);
    }
    if !more.is_empty() {
        holes = sealed.with(more).holes(document, search.format, survey, coarse)?.0;
    }
    Ok(Some(Found { holes, warnings: warnings.0, overflow }))
}

/// What is known to be secret, wherever else it stands, and whether bounds were met. Of a large document, another thread looks into a part.
fn spread_out(
    document: &[u8],
    search: &Search<'_>,
    survey: &Survey,
    seeds: &Seeds,
    sealed: &mut Sealed,
    warnings: &mut Warnings,
    coarse: bool,
) -> Result<(Hits, bool), JsonError> {
    let (index, told) = (Index::of(seeds), warnings.0.len());
    if document.len() >= LARGE && search.switches.beside {
        let done = std::thread::scope(|scope| {
            let beside = Beside::begin(scope, document, survey, sealed.fork(), Lookup::new(document, seeds, &index));
            let mut spread = Spread::new(survey, sealed, warnings, Lookup::new(document, seeds, &index), beside, coarse);
            walk_again(&survey.tape, document, search.format, &mut spread)?;
            Ok(spread.end())
        })?;
        if let Some(done) = done {
            return Ok(done);
        }
        sealed.rewind();
        warnings.0.truncate(told);
    }
    let mut spread = Spread::new(survey, sealed, warnings, Lookup::new(document, seeds, &index), None, coarse);
    walk_again(&survey.tape, document, search.format, &mut spread)?;
    Ok(spread.end().expect("one thread meets its bounds itself"))
}

/// The warnings of one search.
#[derive(Default)]
struct Warnings(Vec<Warning>);

impl Warnings {
    fn add(&mut self, kind: WarningKind, path: impl FnOnce() -> Path) {
        if self.0.len() < MAX_WARNINGS {
            self.0.push(Warning { kind, path: path() });
        }
    }
}

static NOTHING: LazyLock<HashSet<Path>> = LazyLock::new(HashSet::new);
