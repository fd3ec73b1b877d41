package gcsbucket

// permission is an IAM permission that the plugin needs.
type permission struct {
	name    string
	purpose string
	role    string // a predefined role that has it
	// needed reports whether a configuration needs it; nil: every one does.
	needed func(config) bool
}

// permissions are all that the plugin needs on the bucket. Errors, setup and the
// documentation take them from here.
var permissions = []permission{
	{"storage.objects.create", "every object", objectRole, nil},
	{"storage.objects.delete", "an object that is overwritten, too: manifests, sets, retries", objectRole, nil},
	{"storage.objects.get", "manifests, and objects whose upload had no answer", objectRole, nil},
	{"storage.objects.list", "objects that earlier attempts have left", objectRole, nil},
	{"storage.objects.update", "the fence: a change of an object's metadata", objectRole, func(c config) bool { return !c.files }},
	{"storage.buckets.get", "the comparison of region", "roles/storage.legacyBucketReader", func(c config) bool { return c.Region != "" }},
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

// roleOf returns a predefined role that has a permission.
func roleOf(name string) string {
	for _, p := range permissions {
		if p.name == name {
			return p.role
		}
	}
	return objectRole
}

const (
	// objectRole has all permissions on objects.
	objectRole = "roles/storage.objectUser"
	// keyRole lets Cloud Storage's service agent use a key.
	keyRole = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
)
