# 1. Create the storage account and the container, closed to the public. Set RESOURCE_GROUP, and LOCATION such as westeurope.
RESOURCE_GROUP=${RESOURCE_GROUP:?the resource group of the storage account}
LOCATION=${LOCATION:?the region of the storage account}
az storage account create --name acmestage --sku Standard_ZRS --kind StorageV2 --min-tls-version \
    TLS1_2 --allow-blob-public-access false \
    --resource-group "$RESOURCE_GROUP" --location "$LOCATION"
az storage container create --account-name acmestage --name stage --auth-mode login

# 2. Delete versions of files that were removed after 30 days, where the account keeps versions. The service drops blocks that no attempt commits after a week. If the account has a policy already, add the rule to it: this replaces it.
az storage account management-policy create --account-name acmestage --policy \
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
            "stage/penstock/7/"
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

# 3. Create the application. The last command prints stage_client_id, stage_client_secret and stage_tenant_id.
CLIENT_ID=$(az ad app create --display-name penstock-lake --query appId --output tsv)
az ad sp create --id "$CLIENT_ID"
az ad app credential reset --id "$CLIENT_ID" --append --query "{client_id: appId, client_secret: password, tenant_id: tenant}"

# 4. Let the identity use the container, with exactly the permissions that it needs; "Storage Blob Data Contributor" has them, too. A new assignment holds after up to 10 minutes.
SCOPE=$(az storage account show --name acmestage --query id --output tsv)/blobServices/default/containers/stage
az role definition create --role-definition "{\"Name\": \"penstock-lake\", \"Description\": \"Penstock's destination\", \"Actions\": [],
  \"DataActions\": [\"Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read\", \"Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write\", \"Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete\"],
  \"AssignableScopes\": [\"$SCOPE\"]}"
az role assignment create --assignee "$CLIENT_ID" --role penstock-lake --scope "$SCOPE"

# 5. Create the key pair of the user; the file is the value of private_key.
openssl genrsa 2048 | openssl pkcs8 -topk8 -v2 aes-256-cbc -out penstock.p8
openssl rsa -in penstock.p8 -pubout -out penstock.pub

# 6. Create database, schema, warehouse, role and user, with the rights that Penstock needs. The lines between SQL and SQL can be run in a worksheet as well, with the key in place of @KEY@ and the id of the storage account's tenant in place of @TENANT@.
KEY="$(grep -v PUBLIC penstock.pub | tr -d '\n')"
TENANT=$(az account show --query tenantId --output tsv)
sed -e "s|@KEY@|$KEY|" -e "s|@TENANT@|$TENANT|" <<'SQL' | snow sql --stdin
USE ROLE SYSADMIN;
CREATE DATABASE IF NOT EXISTS "ANALYTICS";
CREATE SCHEMA IF NOT EXISTS "ANALYTICS"."MIXPANEL";
CREATE WAREHOUSE IF NOT EXISTS "PENSTOCK" WAREHOUSE_SIZE = XSMALL AUTO_SUSPEND = 60 AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE;
USE ROLE USERADMIN;
CREATE ROLE IF NOT EXISTS "PENSTOCK_LAKE";
CREATE USER IF NOT EXISTS "PENSTOCK" TYPE = SERVICE RSA_PUBLIC_KEY = '@KEY@' DEFAULT_ROLE = "PENSTOCK_LAKE" DEFAULT_WAREHOUSE = "PENSTOCK";
USE ROLE SECURITYADMIN;
GRANT ROLE "PENSTOCK_LAKE" TO USER "PENSTOCK";
GRANT USAGE ON WAREHOUSE "PENSTOCK" TO ROLE "PENSTOCK_LAKE";
GRANT USAGE ON DATABASE "ANALYTICS" TO ROLE "PENSTOCK_LAKE";
GRANT USAGE, CREATE TABLE, CREATE VIEW, CREATE STAGE ON SCHEMA "ANALYTICS"."MIXPANEL" TO ROLE "PENSTOCK_LAKE";
USE ROLE ACCOUNTADMIN;
CREATE STORAGE INTEGRATION IF NOT EXISTS "LAKE" TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'AZURE' ENABLED = TRUE AZURE_TENANT_ID = '@TENANT@' STORAGE_ALLOWED_LOCATIONS = ('azure://acmestage.blob.core.windows.net/stage/penstock/');
GRANT USAGE ON INTEGRATION "LAKE" TO ROLE "PENSTOCK_LAKE";
DESC INTEGRATION "LAKE";
SQL

# 7. Let Snowflake read the container. Open the AZURE_CONSENT_URL that DESC INTEGRATION has shown, as an administrator of the tenant, and accept; put the part of AZURE_MULTI_TENANT_APP_NAME before the underscore in place of APP_NAME. The principal can take an hour to appear, and its role 10 minutes to hold.
READER=$(az ad sp list --display-name APP_NAME --query '[0].id' --output tsv)
az role assignment create --assignee-object-id "$READER" --assignee-principal-type ServicePrincipal \
    --role 'Storage Blob Data Reader' --scope "$(az storage account show --name acmestage --query id --output tsv)/blobServices/default/containers/stage"

