package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// snowflakePassword is that of the stand-in's user.
const snowflakePassword = "correct horse battery"

// snowflakeBlock returns the body of the destination block.
func snowflakeBlock(s *server) string {
	return fmt.Sprintf("  account    = \"standin\"\n  user       = \"BENCH\"\n  password   = %q\n  role       = \"BENCH\"\n  warehouse  = \"BENCH\"\n  database   = \"BENCH\"\n  schema     = \"BENCH\"\n  endpoint   = %q\n",
		snowflakePassword, s.endpoint)
}

// snowflakeServerSide is snowflakeBlock with an internal stage whose files the driver does
// not encrypt.
func snowflakeServerSide(s *server) string {
	return snowflakeBlock(s) + "  client_side_encryption = false\n"
}

// snowflakeExternal is snowflakeBlock with an external stage in the bucket of the storage.
func snowflakeExternal(s *server) string {
	return snowflakeBlock(s) + fmt.Sprintf("  storage_integration = \"BENCH\"\n  stage_url           = \"s3://%s/\"\n  stage_region        = \"us-east-1\"\n  stage_endpoint      = %q\n  stage_path_style    = true\n  stage_encryption    = \"none\"\n  stage_access_key_id = %q\n  stage_secret_access_key = env(\"S3_SECRET\")\n",
		externalBucket, s.behind.endpoint, s3Access)
}

// snowflakeGoogle is snowflakeBlock with an external stage at Google Cloud Storage.
func snowflakeGoogle(s *server) string {
	return snowflakeBlock(s) + fmt.Sprintf("  storage_integration = \"BENCH\"\n  stage_url           = \"gcs://bucket0/\"\n  stage_endpoint      = %q\n", s.behind.behind.endpoint)
}

// snowflakeAzure is snowflakeBlock with an external stage in Azure.
func snowflakeAzure(s *server) string {
	return snowflakeBlock(s) + fmt.Sprintf("  storage_integration = \"BENCH\"\n  stage_url           = \"azure://%s.blob.core.windows.net/bucket0/\"\n  stage_endpoint      = %q\n  stage_account_key   = env(\"AZURE_KEY\")\n",
		azureAccount, s.behind.behind.endpoint)
}

// externalBucket is the bucket of external stages in S3.
const externalBucket = "outside"

// outside is a cloud of external stages: its server, and how the stand-in for Snowflake
// gets to know of it.
type outside struct {
	start       func(ctx context.Context, root, dir string) (*server, error) // nil: the storage of internal stages
	flags       func(s *server) []string                                     // of the stand-in
	integration string                                                       // clauses of CREATE STORAGE INTEGRATION
}

var (
	outsideS3 = outside{
		integration: "STORAGE_PROVIDER = 'S3' STORAGE_AWS_ROLE_ARN = 'arn:aws:iam::123456789012:role/snowflake' STORAGE_ALLOWED_LOCATIONS = ('s3://" + externalBucket + "/')",
	}
	outsideGoogle = outside{
		start: startGCS, flags: func(s *server) []string { return []string{"-google", s.endpoint} },
		integration: "STORAGE_PROVIDER = 'GCS' STORAGE_ALLOWED_LOCATIONS = ('gcs://bucket0/')",
	}
	outsideAzure = outside{
		start: startAzurite, flags: func(s *server) []string {
			return []string{"-azure", s.endpoint, "-azure-account", azureAccount, "-azure-key", azureKey}
		},
		integration: "STORAGE_PROVIDER = 'AZURE' AZURE_TENANT_ID = 'acme' STORAGE_ALLOWED_LOCATIONS = ('azure://" + azureAccount + ".blob.core.windows.net/bucket0/')",
	}
)

// startSnowflake starts a stand-in for Snowflake, which keeps all rows in memory, and the
// storage of its stages, which the plugin reaches over TLS. External stages are in S3.
func startSnowflake(ctx context.Context, root, dir string) (*server, error) {
	return outsideS3.startSnowflake(ctx, root, dir)
}

// startSnowflake is startSnowflake with external stages in this cloud, whose server is
// behind that of the internal stages.
func (o outside) startSnowflake(ctx context.Context, root, dir string) (*server, error) {
	certificate, key, err := writeCertificate(dir)
	if err != nil {
		return nil, err
	}
	storage, err := startStages(ctx, root, dir, certificate, key)
	if err != nil {
		return nil, err
	}
	addr, err := freeAddress()
	if err != nil {
		storage.stop()
		return nil, err
	}
	arguments := []string{"-listen", addr, "-storage", storage.endpoint, "-access", s3Access, "-secret", s3Secret, "-certificate", certificate}
	if o.start != nil {
		if storage.behind, err = o.start(ctx, root, dir); err != nil {
			storage.stop()
			return nil, err
		}
		arguments = append(arguments, o.flags(storage.behind)...)
	}
	s, err := startServer(ctx, addr, "", []string{"TMPDIR=" + dir}, filepath.Join(root, ".cache", "bin", "snowflake-standin"), arguments...)
	if err != nil {
		storage.stop()
		return nil, err
	}
	s.behind, s.env = storage, []string{"SSL_CERT_FILE=" + certificate, "AWS_CA_BUNDLE=" + certificate}
	_, err = s.snowflake(ctx,
		"CREATE ROLE BENCH", "CREATE WAREHOUSE BENCH", "CREATE DATABASE BENCH", "CREATE SCHEMA BENCH.BENCH",
		"CREATE USER BENCH PASSWORD = '"+snowflakePassword+"' DEFAULT_ROLE = BENCH", "GRANT ROLE BENCH TO USER BENCH",
		"GRANT USAGE ON WAREHOUSE BENCH TO ROLE BENCH", "GRANT USAGE ON DATABASE BENCH TO ROLE BENCH",
		"GRANT USAGE, CREATE TABLE, CREATE VIEW, CREATE STAGE ON SCHEMA BENCH.BENCH TO ROLE BENCH",
		"CREATE STORAGE INTEGRATION BENCH TYPE = EXTERNAL_STAGE ENABLED = TRUE "+o.integration,
		"GRANT USAGE ON INTEGRATION BENCH TO ROLE BENCH")
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// startStages starts a versitygw over TLS, with the buckets of internal and external
// stages.
func startStages(ctx context.Context, root, dir, certificate, key string) (*server, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	objects, iam := filepath.Join(dir, "stages"), filepath.Join(dir, "iam")
	for _, d := range []string{filepath.Join(objects, "stages"), filepath.Join(objects, externalBucket), iam} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	s, err := startServer(ctx, addr, "", nil, filepath.Join(root, ".cache", "bin", "versitygw"),
		"--access", s3Access, "--secret", s3Secret, "--port", addr, "--cert", certificate, "--key", key, "--iam-dir", iam, "posix", objects)
	if err != nil {
		return nil, err
	}
	s.endpoint = "https://" + addr
	return s, nil
}

// writeCertificate writes a certificate for 127.0.0.1 that lasts a day, and its key.
func writeCertificate(dir string) (certificate, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return "", "", err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	return certificate, key, errors.Join(
		os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}

// snowflake runs statements at the stand-in as its administrator, and returns the rows of
// the last one.
func (s *server) snowflake(ctx context.Context, statements ...string) ([][]string, error) {
	body, err := json.Marshal(map[string]any{"statements": statements})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint+"/_standin/sql", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(text)))
	}
	if err != nil {
		return nil, fmt.Errorf("run SQL: %w", err)
	}
	var result struct{ Rows [][]string }
	err = json.Unmarshal(text, &result)
	return result.Rows, err
}

// countSnowflake returns the number of rows of the view of events.
func countSnowflake(ctx context.Context, s *server) (int, error) {
	rows, err := s.snowflake(ctx, "USE WAREHOUSE BENCH", "SELECT COUNT(*) FROM BENCH.BENCH.MP_MASTER_EVENT")
	if err != nil {
		return 0, err
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return 0, fmt.Errorf("count rows: %q", rows)
	}
	return strconv.Atoi(rows[0][0])
}
