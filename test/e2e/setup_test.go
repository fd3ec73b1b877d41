package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const setupDestinations = `
destination "s3" "lake" {
  bucket            = "acme-lake"
  region            = "us-west-2"
  access_key_id     = env("NOT_THERE")
  secret_access_key = env("NOT_THERE_EITHER")
}
destination "gcs" "lake" {
  bucket      = "acme-lake"
  credentials = file("not-there.json")
}
destination "picky" "out" {
  path = "./picky"
}
`

// setup prints all that must exist, before anything exists: neither keys nor a
// data directory. It contacts no service.
func TestSetupNeedsNothing(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, setupDestinations+localDestination, "s3.lake")
	for name, texts := range map[string][]string{
		"s3.lake":     {"#!/bin/sh", "aws s3api create-bucket --bucket acme-lake --region us-west-2", `"arn:aws:s3:::acme-lake/2195193/*"`, "s3:AbortMultipartUpload", "aws iam create-access-key"},
		"gcs.lake":    {"gcloud storage buckets create gs://acme-lake", "storage.objects.delete", "gcloud iam service-accounts keys create key.json"},
		"localfs.out": {"mkdir -p -- " + filepath.Join(s.Dir, "out"), "chown"},
	} {
		s.Says(s.Penstock(nil, "destinations", "setup", name), 0, texts...)
	}
	for name, text := range map[string]string{"s3.lake": `resource "aws_iam_user_policy" "lake" {`, "gcs.lake": `resource "google_project_iam_custom_role" "lake" {`} {
		s.Says(s.Penstock(nil, "destinations", "setup", name, "--terraform"), 0, text)
	}
	s.Says(s.Penstock(nil, "destinations", "setup", "localfs.out", "--terraform"), 1, "run it without --terraform")
	s.Says(s.Penstock(nil, "destinations", "setup", "picky.out"), 1, "the plugin for picky has no setup text")
	s.Says(s.Penstock(nil, "destinations", "setup", "s3.laek"), 1, `no destination "s3.laek"`, "s3.lake, gcs.lake")
	s.Says(s.Penstock(nil, "destinations", "setup"), 2, "DESTINATION")
	if _, err := os.Stat(filepath.Join(s.Dir, "data")); !os.IsNotExist(err) {
		t.Errorf("a data directory was made: %v", err)
	}
}

// A mistake in the configuration is shown at its place; a secret never is.
func TestSetupShowsMistakesAndNoSecrets(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, setupDestinations, "s3.lake")
	env := []string{"NOT_THERE=AKIAPUBLIC", "NOT_THERE_EITHER=very-secret-key"}
	r := s.Penstock(env, "destinations", "setup", "s3.lake", "--json")
	s.Says(r, 0)
	var found struct {
		Destination string
		Steps       []struct{ Title, Text string }
	}
	if err := json.Unmarshal([]byte(r.Out), &found); err != nil || found.Destination != "s3.lake" || len(found.Steps) < 3 {
		t.Errorf("%v: %s", err, r.Out)
	}
	if strings.Contains(r.Out+r.Err, "very-secret-key") {
		t.Errorf("a secret is shown: %s%s", r.Out, r.Err)
	}
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), `"us-west-2"`, `"US West"`, 1))
	s.Says(s.Penstock(nil, "destinations", "setup", "s3.lake"), 2, "penstock.hcl:", "Region is not a region's name")
}
