# 1. Create the key pair of the user; the file is the value of private_key.
openssl genrsa 2048 | openssl pkcs8 -topk8 -v2 aes-256-cbc -out penstock.p8
openssl rsa -in penstock.p8 -pubout -out penstock.pub

# 2. Create database, schema, warehouse, role and user, with the rights that Penstock needs. The lines between SQL and SQL can be run in a worksheet as well, with the key in place of @KEY@.
KEY="$(grep -v PUBLIC penstock.pub | tr -d '\n')"
sed -e "s|@KEY@|$KEY|" <<'SQL' | snow sql --stdin
USE ROLE SYSADMIN;
CREATE DATABASE IF NOT EXISTS "a ""b"" \ $(id)";
CREATE SCHEMA IF NOT EXISTS "a ""b"" \ $(id)"."S";
CREATE WAREHOUSE IF NOT EXISTS "W$KEY" WAREHOUSE_SIZE = XSMALL AUTO_SUSPEND = 60 AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE;
USE ROLE USERADMIN;
CREATE ROLE IF NOT EXISTS "PENSTOCK_LAKE";
CREATE USER IF NOT EXISTS "A$(ID)`ID`" TYPE = SERVICE RSA_PUBLIC_KEY = '@KEY@' DEFAULT_ROLE = "PENSTOCK_LAKE" DEFAULT_WAREHOUSE = "W$KEY";
USE ROLE SECURITYADMIN;
GRANT ROLE "PENSTOCK_LAKE" TO USER "A$(ID)`ID`";
GRANT USAGE ON WAREHOUSE "W$KEY" TO ROLE "PENSTOCK_LAKE";
GRANT USAGE ON DATABASE "a ""b"" \ $(id)" TO ROLE "PENSTOCK_LAKE";
GRANT USAGE, CREATE TABLE, CREATE VIEW, CREATE STAGE ON SCHEMA "a ""b"" \ $(id)"."S" TO ROLE "PENSTOCK_LAKE";
SQL

