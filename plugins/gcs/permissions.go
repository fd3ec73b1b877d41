package gcs

// permission is an IAM permission that the plugin needs.
type permission struct {
	name    string
	purpose string
	// needed reports whether a configuration needs it; nil: every one does.
	needed func(config) bool
}

// permissions are all that the plugin needs on the bucket. Errors, setup and the
// documentation take them from here.
var permissions = []permission{
	{"storage.objects.create", "every object", nil},
	{"storage.objects.delete", "an object that is overwritten, too: manifests, sets, retries", nil},
	{"storage.objects.get", "manifests, and objects whose upload had no answer", nil},
	{"storage.objects.list", "objects that earlier attempts have left", nil},
	{"storage.objects.update", "the fence: a change of an object's metadata", nil},
	{"storage.buckets.get", "the comparison of region", func(c config) bool { return c.Region != "" }},
}

// permissions returns the names of the permissions that the configuration needs.
func (c config) permissions() []string {
	var names []string
	for _, p := range permissions {
		if p.needed == nil || p.needed(c) {
			names = append(names, p.name)
		}
	}
	return names
}

const (
	// actorRole lets one account act as another.
	actorRole = "roles/iam.serviceAccountTokenCreator"
	// keyRole lets Cloud Storage's service agent use a key.
	keyRole = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
)
