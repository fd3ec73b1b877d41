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

# 3. Make the signature that is the value of sas_token: for the container, with exactly the permissions that are used.
EXPIRY=${EXPIRY:?the day on which it expires, such as 2030-01-01}
az storage container generate-sas --account-name acmelake --name lake --permissions rwdl \
    --https-only --auth-mode key --output tsv --expiry "$EXPIRY"

