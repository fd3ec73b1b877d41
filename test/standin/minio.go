package standin

import (
	"os"
	"testing"
)

// MinIO is a running MinIO over a directory: an S3 server that encrypts, with a KMS
// of its own that has one key.
type MinIO struct {
	Endpoint  string // http://127.0.0.1:port
	AccessKey string
	SecretKey string
	// Key is the id of the KMS key.
	Key string

	p process
}

// StartMinIO starts a server without buckets. It is stopped when the test ends. The
// test is skipped unless MINIO is set in the environment, as make test-minio does.
func StartMinIO(t testing.TB) *MinIO {
	t.Helper()
	if os.Getenv("MINIO") == "" {
		t.Skip("MinIO is not used here: run make test-minio")
	}
	address := "127.0.0.1:" + freePort(t)
	m := &MinIO{Endpoint: "http://" + address, AccessKey: "standin", SecretKey: "standin-secret", Key: "lab-key"}
	m.p.env = append(os.Environ(), "MINIO_ROOT_USER="+m.AccessKey, "MINIO_ROOT_PASSWORD="+m.SecretKey, "MINIO_BROWSER=off",
		"MINIO_KMS_SECRET_KEY="+m.Key+":bGFiLWtleS1sYWIta2V5LWxhYi1rZXktbGFiLWtleTE=")
	err := m.p.start(Binary(t, "minio"), "server", "--quiet", "--address", address, t.TempDir())
	t.Cleanup(m.p.stop)
	if err == nil {
		err = m.p.await(address)
	}
	if err != nil {
		t.Fatalf("start minio: %v", err)
	}
	return m
}
