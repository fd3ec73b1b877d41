# 1. Create the storage account and the container, closed to the public. Set RESOURCE_GROUP, and LOCATION such as westeurope.
variable "resource_group" {
  description = "The resource group of the storage account"
}

variable "location" {
  description = "The region of the storage account"
}

resource "azurerm_storage_account" "lake" {
  name                            = "acmestage"
  resource_group_name             = var.resource_group
  location                        = var.location
  account_tier                    = "Standard"
  account_replication_type        = "ZRS"
  min_tls_version                 = "TLS1_2"
  allow_nested_items_to_be_public = false
}

resource "azurerm_storage_container" "lake" {
  name               = "stage"
  storage_account_id = azurerm_storage_account.lake.id
}

# 2. Delete versions of files that were removed after 30 days, where the account keeps versions. The service drops blocks that no attempt commits after a week. If the account has a policy already, add the rule to it: this replaces it.
resource "azurerm_storage_management_policy" "lake" {
  storage_account_id = azurerm_storage_account.lake.id
  rule {
    name    = "penstock-lake"
    enabled = true
    filters {
      blob_types   = ["blockBlob"]
      prefix_match = ["stage/penstock/7/"]
    }
    actions {
      version {
        delete_after_days_since_creation = 30
      }
      snapshot {
        delete_after_days_since_creation_greater_than = 30
      }
    }
  }
}

# 3. Create the application. The last command prints stage_client_id, stage_client_secret and stage_tenant_id.
resource "azuread_application" "lake" {
  display_name = "penstock-lake"
}

resource "azuread_service_principal" "lake" {
  client_id = azuread_application.lake.client_id
}

resource "azuread_application_password" "lake" {
  application_id = azuread_application.lake.id
}

# 4. Let the identity use the container, with exactly the permissions that it needs; "Storage Blob Data Contributor" has them, too. A new assignment holds after up to 10 minutes.
resource "azurerm_role_definition" "lake" {
  name  = "penstock-lake"
  scope = azurerm_storage_account.lake.id
  permissions {
    data_actions = ["Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read", "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write", "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete"]
  }
}

resource "azurerm_role_assignment" "lake" {
  scope              = azurerm_storage_container.lake.id
  role_definition_id = azurerm_role_definition.lake.role_definition_resource_id
  principal_id       = azuread_service_principal.lake.object_id
}

# 5. Create the key pair of the user; the file is the value of private_key.
# openssl genrsa 2048 | openssl pkcs8 -topk8 -v2 aes-256-cbc -out penstock.p8
# openssl rsa -in penstock.p8 -pubout -out penstock.pub

# 6. Create database, schema, warehouse, role and user, with the rights that Penstock needs.
variable "penstock_public_key" {
  description = "The content of penstock.pub without its first and last line and without line breaks"
}

resource "snowflake_database" "lake" {
  name = "ANALYTICS"
}

resource "snowflake_schema" "lake" {
  database = snowflake_database.lake.name
  name     = "MIXPANEL"
}

resource "snowflake_warehouse" "lake" {
  name                = "PENSTOCK"
  warehouse_size      = "XSMALL"
  auto_suspend        = 60
  auto_resume         = "true"
  initially_suspended = true
}

resource "snowflake_account_role" "lake" {
  name = "PENSTOCK_LAKE"
}

resource "snowflake_service_user" "lake" {
  name              = "PENSTOCK"
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

data "azurerm_client_config" "lake" {
}

resource "snowflake_storage_integration" "lake" {
  name                      = "LAKE"
  type                      = "EXTERNAL_STAGE"
  storage_provider          = "AZURE"
  enabled                   = true
  azure_tenant_id           = data.azurerm_client_config.lake.tenant_id
  storage_allowed_locations = ["azure://acmestage.blob.core.windows.net/stage/penstock/"]
}

resource "snowflake_grant_privileges_to_account_role" "lake_integration" {
  account_role_name = snowflake_account_role.lake.name
  privileges        = ["USAGE"]
  on_account_object {
    object_type = "INTEGRATION"
    object_name = snowflake_storage_integration.lake.name
  }
}

# Apply the resources above first, and open the link of this output as an administrator of the tenant: the principal exists when it is accepted.
output "snowflake_consent_url" {
  value = snowflake_storage_integration.lake.azure_consent_url
}

data "azuread_service_principal" "lake_snowflake" {
  display_name = split("_", snowflake_storage_integration.lake.azure_multi_tenant_app_name)[0]
}

resource "azurerm_role_assignment" "lake_snowflake" {
  scope                = azurerm_storage_container.lake.id
  role_definition_name = "Storage Blob Data Reader"
  principal_id         = data.azuread_service_principal.lake_snowflake.object_id
}

