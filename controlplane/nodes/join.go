package nodes

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/util/validation"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/internal/pki"
)

// Join gives a node that holds a one-time token a certificate in its own name.
func (h *Hub) Join(_ context.Context, in *nodev1.JoinRequest) (*nodev1.JoinResponse, error) {
	if problems := validation.IsDNS1123Subdomain(in.NodeName); len(problems) > 0 {
		return nil, status.Errorf(codes.InvalidArgument, "node_name: %q: %s", in.NodeName, problems[0])
	}
	// Whoever holds a token may join as a new node, but not take the name, and with it the pods and their
	// secrets, of one that is there.
	if _, taken := h.cfg.Store.Get(nodeKey(in.NodeName)); taken {
		return nil, status.Errorf(codes.AlreadyExists, "node_name: node %s is there already: join under another name, or delete that one first: kubectl delete node %s", in.NodeName, in.NodeName)
	}
	if err := pki.CheckRequest(in.CsrDer); err != nil { // before the token is spent
		return nil, status.Errorf(codes.InvalidArgument, "csr_der: %v", err)
	}
	if err := h.cfg.Redeem(in.Token); err != nil {
		return nil, status.Errorf(codes.Unauthenticated, "token: %v; make a new one with: swell nodes token", err)
	}
	return h.sign(in.CsrDer, in.NodeName)
}

// Renew gives a node with a valid certificate a fresh one.
func (h *Hub) Renew(ctx context.Context, in *nodev1.RenewRequest) (*nodev1.JoinResponse, error) {
	node, err := peerNode(ctx)
	if err != nil {
		return nil, err
	}
	return h.sign(in.CsrDer, node)
}

func (h *Hub) sign(csr []byte, node string) (*nodev1.JoinResponse, error) {
	cert, ca, err := h.cfg.Sign(csr, node)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "csr_der: %v", err)
	}
	return &nodev1.JoinResponse{CertificatePem: cert, CaPem: ca}, nil
}
