# Instances by number and by name, a module, sets, a set block, and a secret that is a key of a map.

variable "secret" {
  type      = string
  sensitive = true
  default   = "set-canary\n\"<&>\" two"
}

module "child" {
  source   = "./child"
  for_each = toset(["a", "b"])
  secret   = var.secret
  label    = each.key
}

resource "terraform_data" "numbered" {
  count = 2
  input = { index = count.index, word = count.index == 1 ? var.secret : "plain" }
}

resource "terraform_data" "set" {
  input = toset([var.secret, "harmless element"])
}

resource "terraform_data" "keyed" {
  for_each = { "0" = "zero", "dotted.key" = "one" }
  input    = { name = each.key, words = { (nonsensitive(var.secret)) = each.value, plain = "x" } }
}

output "keys" {
  value = { (nonsensitive(var.secret)) = 1, other = 2 }
}

output "deep_keys" {
  value = { outer = { (nonsensitive(var.secret)) = 1 }, list = ["a", "b"] }
}

output "labels" {
  value = [for child in module.child : child.label]
}
