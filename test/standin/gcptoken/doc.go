// Package gcptoken plays the two services that hand out access tokens at Google:
// the token endpoint of service accounts' keys, and IAM Credentials' method
// generateAccessToken, which lets one account act as another. A stand-in in another
// process asks /tokeninfo whose a token is.
//
// The server is strict: it verifies the signature, audience and lifetime of the
// assertion, the scopes of a request, and the grant of the role
// roles/iam.serviceAccountTokenCreator. It refuses every other request with
// 501. Statuses and messages are those of the services
// (https://developers.google.com/identity/protocols/oauth2/service-account and
// https://cloud.google.com/iam/docs/reference/credentials/rest).
package gcptoken
