package nodes

import (
	"context"
	"crypto/x509"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"swell.dev/swell/internal/pki"
)

// peerNode answers the node in whose name the peer's verified certificate was issued.
func peerNode(ctx context.Context) (string, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "", status.Error(codes.Unauthenticated, "no peer")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return "", status.Error(codes.Unauthenticated, "a node's client certificate is required: join with a token first")
	}
	return nodeOf(info.State.VerifiedChains[0][0])
}

func nodeOf(cert *x509.Certificate) (string, error) {
	name, ok := strings.CutPrefix(cert.Subject.CommonName, pki.NodePrefix)
	if !ok || name == "" || !slices.Contains(cert.Subject.Organization, pki.NodeGroup) {
		return "", status.Errorf(codes.PermissionDenied, "certificate %q is not a node's", cert.Subject.CommonName)
	}
	return name, nil
}
