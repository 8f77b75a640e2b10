package controlplane

// User is who sent a request, after authentication.
type User struct {
	Name, UID string
	Groups    []string
}

// Attributes is what a request wants to do, as authorisation sees it. Either Resource or Path is set.
type Attributes struct {
	Verb        string // get, list, watch, create, update, patch, delete, deletecollection; for a Path the lower-case HTTP method
	Group       string // empty: the core group
	Resource    string // plural, lower case
	Subresource string
	Namespace   string // empty for cluster-scoped resources and across all namespaces
	Name        string // empty for list, create and the like
	Path        string // of a request that isn't for a resource, such as /apis
}
