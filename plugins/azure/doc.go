// Package azure is the destination that writes to Azure Blob Storage, in Mixpanel's
// bucket layout. Package azurecontainer carries it out.
package azure
