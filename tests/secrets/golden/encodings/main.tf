# One secret in every form that Terraform's own functions write, none of them marked; and a check that quotes it.

variable "secret" {
  type      = string
  sensitive = true
  default   = "form canary \"\\<&%é/+=\nsecond line"
}

locals {
  bare = nonsensitive(var.secret)
  json = jsonencode({ text = local.bare, list = [local.bare, 1] })
}

resource "terraform_data" "source" {
  input = var.secret
}

resource "terraform_data" "forms" {
  input = {
    json          = local.json
    json_twice    = jsonencode({ inner = local.json })
    json_in_text  = "cat > app.json <<END\n${local.json}\nEND\n"
    yaml          = yamlencode({ a = { b = local.bare } })
    base64        = base64encode(local.bare)
    base64_shift1 = base64encode("x${local.bare}y")
    base64_shift2 = base64encode("xx${local.bare}yyy")
    base64_json   = base64encode(local.json)
    base64_twice  = base64encode(base64encode("user-data ${local.bare}"))
    base64_lines  = join("\n", regexall(".{1,16}", base64encode("pad ${local.bare}")))
    gzip          = base64gzip("#!/bin/sh\necho ${local.json}\n")
    wide          = textencodebase64(local.bare, "UTF-16LE")
    url           = "postgres-ish://host/db?option=${urlencode(local.bare)}"
    url_in_base64 = base64encode("host/${urlencode(local.bare)}")
    text          = "begin ${local.bare} end"
    hash          = sha256(local.bare)
    harmless      = "form canary"
  }
}

resource "terraform_data" "pairs" {
  input = {
    containers = jsonencode([{ name = "app", environment = [{ name = "DB_PASSWORD", value = "pair-canary-1" }, { name = "DB_HOST", value = "db" }] }])
    open_pairs = [{ name = "API_TOKEN", value = "pair-canary-2" }, { name = "LOG_LEVEL", value = "debug" }]
    dsn_like   = "postgres://app:url-canary-3@db.internal:5432/app"
    key        = "-----BEGIN PRIVATE KEY-----\nMIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgw\nQUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=\n-----END PRIVATE KEY-----\n"
    key_body   = "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwQUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
    other_body = "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgw"
    reuse      = "psql -p url-canary-3"
  }
}

check "quoting" {
  assert {
    condition     = length(local.bare) < 3
    error_message = "the text is ${local.bare}, which is long"
  }
}

output "forms" {
  value = { wide = textencodebase64(local.bare, "UTF-16LE"), plain = "x" }
}
