// Package entra plays Entra ID in tests: the part of it that hands out tokens for
// Azure Storage to an application with a client secret or a federated credential,
// and the identity service of App Service, which hands them out to a machine.
//
// It refuses a wrong client, secret, assertion, tenant and scope with the numbers
// and texts that Entra ID has for them (learn.microsoft.com/entra/identity-platform/
// reference-error-codes). Its tokens have the claims that Azurite looks at, and no
// valid signature.
package entra
