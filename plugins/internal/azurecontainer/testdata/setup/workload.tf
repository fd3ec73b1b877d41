# 1. Create the storage account and the container, closed to the public. Set RESOURCE_GROUP, and LOCATION such as westeurope.
variable "resource_group" {
  description = "The resource group of the storage account"
}

variable "location" {
  description = "The region of the storage account"
}

resource "azurerm_storage_account" "lake" {
  name                            = "acmelake"
  resource_group_name             = var.resource_group
  location                        = var.location
  account_tier                    = "Standard"
  account_replication_type        = "ZRS"
  min_tls_version                 = "TLS1_2"
  allow_nested_items_to_be_public = false
}

resource "azurerm_storage_container" "lake" {
  name               = "lake"
  storage_account_id = azurerm_storage_account.lake.id
}

# 2. Delete versions of replaced manifests and sets after 30 days, where the account keeps versions. The service drops blocks that no attempt commits after a week. If the account has a policy already, add the rule to it: this replaces it.
resource "azurerm_storage_management_policy" "lake" {
  storage_account_id = azurerm_storage_account.lake.id
  rule {
    name    = "penstock-lake"
    enabled = true
    filters {
      blob_types   = ["blockBlob"]
      prefix_match = ["lake/exports/mixpanel/7/"]
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

# 3. Create the application, and trust the tokens of the cluster's service account. Set ISSUER to the cluster's OIDC issuer and SUBJECT to system:serviceaccount:NAMESPACE:NAME.
resource "azuread_application" "lake" {
  display_name = "penstock-lake"
}

resource "azuread_service_principal" "lake" {
  client_id = azuread_application.lake.client_id
}

variable "issuer" {
  description = "The cluster's OIDC issuer"
}

variable "subject" {
  description = "system:serviceaccount:NAMESPACE:NAME"
}

resource "azuread_application_federated_identity_credential" "lake" {
  application_id = azuread_application.lake.id
  display_name   = "penstock-lake"
  issuer         = var.issuer
  subject        = var.subject
  audiences      = ["api://AzureADTokenExchange"]
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

