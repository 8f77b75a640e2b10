package apiserver

import (
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// nodeImages serves swell.dev's nodes/NAME/images. The nodes themselves are core/v1's.
func (s *Server) nodeImages() *resource {
	return &resource{
		gvk: swellVersion.WithKind("Node"), plural: "nodes", singular: "node",
		subresources: []subresource{{
			name: "images", gvk: swellVersion.WithKind("NodeImageList"), methods: getAndPost, verbs: []string{"create", "get"},
			types: ownResponse, serve: s.serveImages,
		}},
	}
}

func (s *Server) serveImages(q *request) error {
	if _, ok := s.cfg.Store.Get(controlplane.Key{Resource: "nodes", Name: q.name}); !ok {
		return apierrors.NewNotFound(q.groupResource(), q.name)
	}
	if q.r.Method == http.MethodGet {
		data, err := s.cfg.ListImages(q.r.Context(), q.name)
		if err != nil {
			return fmt.Errorf("images of node %q: %w", q.name, err)
		}
		writeBytes(q.w, q.r, http.StatusOK, mediaJSON, data)
		return nil
	}
	// An archive is as large as it is, and takes as long as it takes.
	_ = http.NewResponseController(q.w).SetReadDeadline(time.Time{})
	refs, err := s.cfg.ImportImage(q.r.Context(), q.name, q.r.Body)
	if err != nil {
		return fmt.Errorf("import to node %q: %w", q.name, err)
	}
	list := v1alpha1.NodeImageList{Images: make([]v1alpha1.NodeImage, 0, len(refs))}
	for _, ref := range refs {
		list.Images = append(list.Images, v1alpha1.NodeImage{Ref: ref})
	}
	return writeJSON(q.w, q.r, list)
}

// joinTokens are made, shown once and never listed.
func (s *Server) joinTokens() *resource {
	gvk := swellVersion.WithKind("JoinToken")
	return &resource{
		gvk: gvk, plural: "jointokens", singular: "jointoken", verbs: []string{"create"}, types: textTypes,
		serve: func(q *request) error {
			data, err := q.body()
			if err != nil {
				return err
			}
			token := v1alpha1.JoinToken{}
			if err := strictJSON(data, &token); err != nil {
				return apierrors.NewBadRequest(fmt.Sprintf("JoinToken in version %q cannot be handled as a JoinToken: %v", gvk.Version, err))
			}
			if token.Spec.TTLSeconds < 0 {
				return apierrors.NewBadRequest("spec.ttlSeconds must not be negative")
			}
			if token.Status, err = s.cfg.IssueJoinToken(q.r.Context(), token.Spec); err != nil {
				return fmt.Errorf("join token: %w", err)
			}
			token.ObjectMeta = metav1.ObjectMeta{Name: generateName("join-"), UID: uuid.NewUUID(), CreationTimestamp: metav1.Now().Rfc3339Copy()}
			out, err := untyped(&token, gvk)
			if err != nil {
				return err
			}
			q.as.as = ""
			s.write(q.w, q.r, http.StatusCreated, q.as, runtime.Object(out), gvk)
			return nil
		},
	}
}
