# 1. Create the key in us, which must be the bucket's location, and let Cloud Storage's service agent use it.
gcloud kms keyrings describe '`r`' '--project=a$(id)' --location=us > /dev/null 2>&1 || gcloud kms keyrings create '`r`' '--project=a$(id)' --location=us
gcloud kms keys describe 'projects/a$(id)/locations/us/keyRings/`r`/cryptoKeys/k'\''' > /dev/null 2>&1 || gcloud kms keys create 'k'\''' '--keyring=`r`' --purpose=encryption '--project=a$(id)' --location=us
gcloud storage service-agent \
    '--authorize-cmek=projects/a$(id)/locations/us/keyRings/`r`/cryptoKeys/k'\'''

# 2. Create the bucket in US, closed to the public. Its rule deletes what interrupted replacements have put aside; unfinished uploads end by themselves after a week.
gcloud storage buckets create gs://acme-lake --uniform-bucket-level-access \
    --public-access-prevention \
    '--default-encryption-key=projects/a$(id)/locations/us/keyRings/`r`/cryptoKeys/k'\'''
LIFECYCLE=$(mktemp)
printf '%s\n' \
    '{
  "rule": [
    {
      "action": {
        "type": "Delete"
      },
      "condition": {
        "age": 7,
        "matchesPrefix": [
          "a$(id)'\''${x}/7/_penstock/mp_master_event/aside/",
          "a$(id)'\''${x}/7/_penstock/mp_people_data/aside/",
          "a$(id)'\''${x}/7/_penstock/mp_identity_mappings_data/aside/"
        ]
      }
    }
  ]
}' > "$LIFECYCLE"
gcloud storage buckets update gs://acme-lake --lifecycle-file="$LIFECYCLE"

# 3. Create the service account that writes.
gcloud iam service-accounts create 'x;y'\''$(id)' --project=acme

# 4. Let the account use the bucket, with exactly the permissions that it needs.
gcloud iam roles create penstock_lake --project=acme --title='Penstock'\''s destination' \
    --permissions=storage.objects.create,storage.objects.delete,storage.objects.get,storage.objects.list,storage.objects.update
gcloud storage buckets add-iam-policy-binding gs://acme-lake \
    --member=serviceAccount:'x;y'\''$(id)@acme.iam.gserviceaccount.com' --role=projects/acme/roles/penstock_lake

# 5. Let the account that the host's own credentials belong to act as it: set CALLER to its address.
CALLER=${CALLER:?the address of the service account that the host runs with}
gcloud iam service-accounts add-iam-policy-binding 'x;y'\''$(id)@acme.iam.gserviceaccount.com' \
    --member=serviceAccount:"$CALLER" --role=roles/iam.serviceAccountTokenCreator

