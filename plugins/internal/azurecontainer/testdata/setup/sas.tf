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
      prefix_match = ["lake/7/"]
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

# 3. Make the signature that is the value of sas_token: for the container, with exactly the permissions that are used.
# az storage container generate-sas makes the signature; Terraform would keep it in its state.

