# Sensitive values in objects, lists, tuples and maps of one resource, and what Terraform leaves unmarked beside them.

variable "password" {
  type      = string
  sensitive = true
  default   = "c4nary-\"\\<&%é/+=-one"
}

variable "pin" {
  type      = string
  sensitive = true
  default   = "k7q2"
}

variable "number" {
  type      = number
  sensitive = true
  default   = 90071992547409931234
}

resource "terraform_data" "object" {
  input = {
    host = "db.internal.example"
    port = 5432
    auth = { login = "app", phrase = var.password }
    list = ["first", var.password, "third"]
    pin  = var.pin
    echo = nonsensitive(var.pin)
    tags = { Name = "object", team = "core" }
  }
}

# A copy that Terraform does not mark: `output` is computed.
resource "terraform_data" "copy" {
  input            = nonsensitive(var.password)
  triggers_replace = ["one", "two"]
}

resource "terraform_data" "whole" {
  input = sensitive({ inner = "other-canary-value", level = 3, on = true, none = null })
}

resource "terraform_data" "other" {
  input = { pin = "k7q2", note = "harmless", big = nonsensitive(var.number) }
}

output "plain" {
  value = { zone = "eu-west-1a", size = 3 }
}

output "phrase" {
  value     = var.password
  sensitive = true
}

output "tuple" {
  value     = [1, "two", var.number]
  sensitive = true
}

output "copied" {
  value = ["a", nonsensitive(var.password)]
}
