# 1. Create the key pair of the user; the file is the value of private_key.
# openssl genrsa 2048 | openssl pkcs8 -topk8 -v2 aes-256-cbc -out penstock.p8
# openssl rsa -in penstock.p8 -pubout -out penstock.pub

# 2. Create database, schema, warehouse, role and user, with the rights that Penstock needs.
variable "penstock_public_key" {
  description = "The content of penstock.pub without its first and last line and without line breaks"
}

resource "snowflake_database" "lake" {
  name = "a \"b\" \\ $(id)"
}

resource "snowflake_schema" "lake" {
  database = snowflake_database.lake.name
  name     = "S"
}

resource "snowflake_warehouse" "lake" {
  name                = "W$KEY"
  warehouse_size      = "XSMALL"
  auto_suspend        = 60
  auto_resume         = "true"
  initially_suspended = true
}

resource "snowflake_account_role" "lake" {
  name = "PENSTOCK_LAKE"
}

resource "snowflake_service_user" "lake" {
  name              = "A$(ID)`ID`"
  default_role      = snowflake_account_role.lake.name
  default_warehouse = snowflake_warehouse.lake.name
  rsa_public_key    = var.penstock_public_key
}

resource "snowflake_grant_account_role" "lake" {
  role_name = snowflake_account_role.lake.name
  user_name = snowflake_service_user.lake.name
}

resource "snowflake_grant_privileges_to_account_role" "lake_warehouse" {
  account_role_name = snowflake_account_role.lake.name
  privileges        = ["USAGE"]
  on_account_object {
    object_type = "WAREHOUSE"
    object_name = snowflake_warehouse.lake.name
  }
}

resource "snowflake_grant_privileges_to_account_role" "lake_database" {
  account_role_name = snowflake_account_role.lake.name
  privileges        = ["USAGE"]
  on_account_object {
    object_type = "DATABASE"
    object_name = snowflake_database.lake.name
  }
}

resource "snowflake_grant_privileges_to_account_role" "lake_schema" {
  account_role_name = snowflake_account_role.lake.name
  privileges        = ["USAGE", "CREATE TABLE", "CREATE VIEW", "CREATE STAGE"]
  on_schema {
    schema_name = snowflake_schema.lake.fully_qualified_name
  }
}

