variable "secret" {
  type      = string
  sensitive = true
}

variable "label" {
  type = string
}

resource "terraform_data" "inner" {
  input = { label = var.label, of = [{ text = var.secret }] }
}

output "label" {
  value = var.label
}
