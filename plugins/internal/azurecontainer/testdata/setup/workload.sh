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
            "lake/exports/mixpanel/7/"
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

# 3. Create the application, and trust the tokens of the cluster's service account. Set ISSUER to the cluster's OIDC issuer and SUBJECT to system:serviceaccount:NAMESPACE:NAME.
CLIENT_ID=$(az ad app create --display-name penstock-lake --query appId --output tsv)
az ad sp create --id "$CLIENT_ID"
ISSUER=${ISSUER:?the OIDC issuer of the cluster}
SUBJECT=${SUBJECT:?system:serviceaccount:NAMESPACE:NAME}
az ad app federated-credential create --id "$CLIENT_ID" --parameters "{\"name\": \"penstock-lake\", \"issuer\": \"$ISSUER\",
  \"subject\": \"$SUBJECT\", \"audiences\": [\"api://AzureADTokenExchange\"]}"

# 4. Let the identity use the container, with exactly the permissions that it needs; "Storage Blob Data Contributor" has them, too. A new assignment holds after up to 10 minutes.
SCOPE=$(az storage account show --name acmelake --query id --output tsv)/blobServices/default/containers/lake
az role definition create --role-definition "{\"Name\": \"penstock-lake\", \"Description\": \"Penstock's destination\", \"Actions\": [],
  \"DataActions\": [\"Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read\", \"Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write\", \"Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete\"],
  \"AssignableScopes\": [\"$SCOPE\"]}"
az role assignment create --assignee "$CLIENT_ID" --role penstock-lake --scope "$SCOPE"

