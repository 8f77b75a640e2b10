package e2e

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"swell.dev/swell/internal/ociimage"
)

// restRequest posts a raw body.
type restRequest struct{ *rest.Request }

func (r restRequest) create(ctx context.Context, body string) error {
	return r.Param("fieldValidation", "Strict").SetHeader("Content-Type", "application/json").Body([]byte(body)).Do(ctx).Error()
}

func asStatus(err error, status *apierrors.APIStatus) bool { return errors.As(err, status) }

func contains(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}

// emptyRegistry is a registry on loopback that has no image.
func emptyRegistry(t *testing.T) string {
	t.Helper()
	addr, stop, err := ociimage.Serve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if _, _, err := net.SplitHostPort(addr); err != nil {
		t.Fatal(err)
	}
	return addr
}
