// Package openapi holds the descriptions of the JSON APIs, as they are served
// and as every exchange of the tests is held against.
package openapi

import _ "embed" // the descriptions

// Account describes the device API, /account/v1 (OpenAPI 3.1, YAML).
//
//go:embed account.yaml
var Account string

// Admin describes the operators' API, /admin/v1 (OpenAPI 3.1, YAML).
//
//go:embed admin.yaml
var Admin string
