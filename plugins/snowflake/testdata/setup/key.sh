# 1. Create the key pair of the user; the file is the value of private_key.
openssl genrsa 2048 | openssl pkcs8 -topk8 -v2 aes-256-cbc -out penstock.p8
openssl rsa -in penstock.p8 -pubout -out penstock.pub

# 2. Create database, schema, warehouse, role and user, with the rights that Penstock needs. The lines between SQL and SQL can be run in a worksheet as well, with the key in place of @KEY@.
KEY="$(grep -v PUBLIC penstock.pub | tr -d '\n')"
sed -e "s|@KEY@|$KEY|" <<'SQL' | snow sql --stdin
USE ROLE SYSADMIN;
CREATE DATABASE IF NOT EXISTS "ANALYTICS";
CREATE SCHEMA IF NOT EXISTS "ANALYTICS"."MIXPANEL";
CREATE WAREHOUSE IF NOT EXISTS "PENSTOCK" WAREHOUSE_SIZE = XSMALL AUTO_SUSPEND = 60 AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE;
USE ROLE USERADMIN;
CREATE ROLE IF NOT EXISTS "LOADER";
CREATE USER IF NOT EXISTS "LOADER" TYPE = SERVICE RSA_PUBLIC_KEY = '@KEY@' DEFAULT_ROLE = "LOADER" DEFAULT_WAREHOUSE = "PENSTOCK";
USE ROLE SECURITYADMIN;
GRANT ROLE "LOADER" TO USER "LOADER";
GRANT USAGE ON WAREHOUSE "PENSTOCK" TO ROLE "LOADER";
GRANT USAGE ON DATABASE "ANALYTICS" TO ROLE "LOADER";
GRANT USAGE, CREATE TABLE, CREATE VIEW, CREATE STAGE ON SCHEMA "ANALYTICS"."MIXPANEL" TO ROLE "LOADER";
SQL

