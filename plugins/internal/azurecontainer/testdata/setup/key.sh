# 1. Create the storage account and the container, closed to the public. Set RESOURCE_GROUP, and LOCATION such as westeurope.
RESOURCE_GROUP=${RESOURCE_GROUP:?the resource group of the storage account}
LOCATION=${LOCATION:?the region of the storage account}
az storage account create --name acmelake --sku Standard_ZRS --kind StorageV2 --min-tls-version \
    TLS1_2 --allow-blob-public-access false \
    --resource-group "$RESOURCE_GROUP" --location "$LOCATION"
az storage container create --account-name acmelake --name lake --auth-mode login

# 2. Delete versions of replaced manifests and sets after 30 days, where the account keeps versions. The service drops blocks that no attempt commits after a week. If the account has a policy already, add the rule to it: this replaces it.
az storage account management-policy create --account-name acmelake --policy \
    '{
  "rules": [
    {
      "enabled": true,
      "name": "penstock-lake",
      "type": "Lifecycle",
      "definition": {
        "filters": {
          "blobTypes": [
            "blockBlob"
          ],
          "prefixMatch": [
            "lake/7/"
          ]
        },
        "actions": {
          "version": {
            "delete": {
              "daysAfterCreationGreaterThan": 30
            }
          },
          "snapshot": {
            "delete": {
              "daysAfterCreationGreaterThan": 30
            }
          }
        }
      }
    }
  ]
}' \
    --resource-group "$RESOURCE_GROUP"

# 3. The account's key is the value of account_key. It opens the whole account: a service principal can be limited to the container.
az storage account keys list --account-name acmelake --query '[0].value' --output tsv

