// Command penstock collects product analytics and exports them, in the layout
// of Mixpanel's JSON Pipelines, to object stores and warehouses.
package main
