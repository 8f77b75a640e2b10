package apiserver

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"

	openapiv2 "github.com/google/gnostic-models/openapiv2"
	openapiv3 "github.com/google/gnostic-models/openapiv3"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	openAPIv2Protobuf = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
	openAPIv3Protobuf = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
)

// openAPI holds the documents. They are built from the Go types when they are first asked for.
type openAPI struct {
	v3      sync.Once
	v3Err   error
	v3Docs  map[string][]byte // JSON by path: api/v1, apis/GROUP/VERSION
	v3Index []byte

	v2    sync.Once
	v2Err error
	v2Doc []byte

	mu       sync.Mutex
	protobuf map[string][]byte // guarded by mu; documents in protobuf, by path
}

// documentPath is where a group version is in the index.
func documentPath(gv schema.GroupVersion) string {
	if gv.Group == "" {
		return "api/" + gv.Version
	}
	return "apis/" + gv.String()
}

func (s *Server) openAPIv3() (*openAPI, error) {
	o := &s.openapi
	o.v3.Do(func() { o.v3Err = s.buildOpenAPIv3(o) })
	return o, o.v3Err
}

func (s *Server) buildOpenAPIv3(o *openAPI) error {
	o.v3Docs = map[string][]byte{}
	index := map[string]any{}
	for _, gv := range s.resources.groupVersions() {
		b := newSchemas(true)
		doc := map[string]any{
			"openapi": "3.0.0",
			"info":    map[string]any{"title": "Swell", "version": "v" + kubernetesMajor + "." + kubernetesMinor},
			"paths":   s.paths(b, func(other schema.GroupVersion) bool { return other == gv }),
		}
		doc["components"] = map[string]any{"schemas": b.definitions}
		data, err := json.Marshal(doc)
		if err != nil {
			return fmt.Errorf("openapi of %s: %w", gv, err)
		}
		path := documentPath(gv)
		sum := sha256.Sum256(data)
		o.v3Docs[path] = data
		index[path] = map[string]any{"serverRelativeURL": "/openapi/v3/" + path + "?hash=" + strings.ToUpper(hex.EncodeToString(sum[:]))}
	}
	var err error
	o.v3Index, err = json.Marshal(map[string]any{"paths": index})
	return err
}

func (s *Server) serveOpenAPIv3Index(w http.ResponseWriter, r *http.Request) error {
	o, err := s.openAPIv3()
	if err != nil {
		return err
	}
	writeCacheable(w, r, mediaJSON, o.v3Index)
	return nil
}

func (s *Server) serveOpenAPIv3(path string) (func(http.ResponseWriter, *http.Request) error, error) {
	o, err := s.openAPIv3()
	if err != nil {
		return nil, err
	}
	data, ok := o.v3Docs[path]
	if !ok {
		return nil, notServed("get")
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		if !strings.Contains(r.Header.Get("Accept"), "proto-openapi.spec.v3") {
			writeCacheable(w, r, mediaJSON, data)
			return nil
		}
		pb, err := o.inProtobuf(path, func() (proto.Message, error) { return openapiv3.ParseDocument(data) })
		if err == nil {
			writeCacheable(w, r, openAPIv3Protobuf, pb)
		}
		return err
	}, nil
}

func (s *Server) serveOpenAPIv2(w http.ResponseWriter, r *http.Request) error {
	o := &s.openapi
	o.v2.Do(func() {
		b := newSchemas(false)
		doc := map[string]any{
			"swagger": "2.0",
			"info":    map[string]any{"title": "Swell", "version": "v" + kubernetesMajor + "." + kubernetesMinor},
			"paths":   s.paths(b, func(schema.GroupVersion) bool { return true }),
		}
		doc["definitions"] = b.definitions
		o.v2Doc, o.v2Err = json.Marshal(doc)
	})
	if o.v2Err != nil {
		return o.v2Err
	}
	if !strings.Contains(r.Header.Get("Accept"), "proto-openapi.spec.v2") {
		writeCacheable(w, r, mediaJSON, o.v2Doc)
		return nil
	}
	pb, err := o.inProtobuf("v2", func() (proto.Message, error) { return openapiv2.ParseDocument(o.v2Doc) })
	if err == nil {
		writeCacheable(w, r, openAPIv2Protobuf, pb)
	}
	return err
}

func (o *openAPI) inProtobuf(path string, parse func() (proto.Message, error)) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if pb := o.protobuf[path]; pb != nil {
		return pb, nil
	}
	doc, err := parse()
	if err != nil {
		return nil, fmt.Errorf("openapi %s in protobuf: %w", path, err)
	}
	pb, err := proto.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("openapi %s in protobuf: %w", path, err)
	}
	if o.protobuf == nil {
		o.protobuf = map[string][]byte{}
	}
	o.protobuf[path] = pb
	return pb, nil
}
