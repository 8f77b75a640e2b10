package v1alpha1

// NodeImage is an image on a node, unpacked and ready to start.
type NodeImage struct {
	Ref    string `json:"ref"`              // normalised: registry/repository:tag or …@digest
	ID     string `json:"id,omitempty"`     // sha256:… of the config
	Digest string `json:"digest,omitempty"` // sha256:… of the manifest
	Size   int64  `json:"size,omitempty"`   // bytes
}

// NodeImageList is the answer to an import: the images that the archive held. An import is the POST of
// an OCI or docker archive (a tar stream) to /apis/swell.dev/v1alpha1/nodes/NAME/images; a GET of the
// same path answers what is on the node, as a JSON array of NodeImage.
type NodeImageList struct {
	Images []NodeImage `json:"images"`
}
