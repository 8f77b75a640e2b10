package nodes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
	"swell.dev/swell/internal/pki"
)

// world is a hub behind a real gRPC server with TLS.
type world struct {
	*bell
	t      *testing.T
	store  *fakeStore
	ledger *fakeLedger
	sched  *fakeScheduler
	logs   *logbook
	tokens map[string]error // what redeeming answers; redeemed once
	ca     *pki.CA
	hub    *Hub
	addr   string
	stop   func() // ends Run
}

// newWorld starts a hub; the objects are there before it. Its end proves that no goroutine is left.
func newWorld(t *testing.T, objects ...controlplane.Object) *world {
	return newWorldWith(t, Config{Silence: time.Hour}, objects...)
}

func newWorldWith(t *testing.T, cfg Config, objects ...controlplane.Object) *world {
	b := newBell()
	w := &world{
		bell: b, t: t, store: newFakeStore(b), ledger: newFakeLedger(b), logs: &logbook{bell: b}, tokens: map[string]error{},
		sched: &fakeScheduler{bell: b, nodes: map[string]controlplane.Node{}, actuated: map[string]controlplane.Demand{}},
	}
	for _, o := range objects {
		w.store.put(o)
	}
	var err error
	if w.ca, err = pki.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	cert, err := w.ca.Server("server", []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Store, cfg.Ledger, cfg.Scheduler = w.store, w.ledger, w.sched
	cfg.Redeem, cfg.Sign = w.redeem, w.ca.SignNode
	cfg.Log = slog.New(slog.NewTextHandler(w.logs, nil))
	if w.hub, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	server := grpc.NewServer(grpc.WaitForHandlers(true), grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{cert}, ClientCAs: w.ca.Pool(), ClientAuth: tls.VerifyClientCertIfGiven,
	})))
	nodev1.RegisterFleetServer(server, w.hub)
	ctx, cancel := context.WithCancel(context.Background())
	ran, served := make(chan error, 1), make(chan error, 1)
	go func() { ran <- w.hub.Run(ctx) }()
	go func() { served <- server.Serve(l) }()
	w.stop = func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		ran <- nil
	}
	t.Cleanup(func() {
		w.stop()
		server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("Serve: %v", err)
		}
		checkNoneLeft(t)
	})
	return w
}

// checkNoneLeft fails if a goroutine still runs this package's code: those that handlers wait for have
// ended when the server has stopped.
func checkNoneLeft(t *testing.T) {
	buf := make([]byte, 4<<20)
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "nodes.(*Hub).") || strings.Contains(g, "nodes.(*relay).") {
			t.Errorf("a goroutine is left:\n%s", g)
		}
	}
}

func (w *world) redeem(token string) error {
	err, ok := w.tokens[token]
	if !ok {
		return status.Error(codes.Unknown, "the join token isn't known, or was used")
	}
	delete(w.tokens, token)
	return err
}

// dial connects with the certificate, or without one.
func (w *world) dial(cert *tls.Certificate) nodev1.FleetClient {
	w.t.Helper()
	config := &tls.Config{RootCAs: w.ca.Pool()}
	if cert != nil {
		config.Certificates = []tls.Certificate{*cert}
	}
	conn, err := grpc.NewClient(w.addr, grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)), grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() }) //nolint:errcheck // the server's end is what is tested
	return nodev1.NewFleetClient(conn)
}

func (w *world) certificate(node string) *tls.Certificate {
	w.t.Helper()
	csr, key, err := pki.NewRequest(node)
	if err != nil {
		w.t.Fatal(err)
	}
	certPEM, _, err := w.ca.SignNode(csr, node)
	if err != nil {
		w.t.Fatal(err)
	}
	block, _ := pem.Decode(certPEM)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key, Leaf: leaf}
}

// fakeNodelet is the other end of a session.
type fakeNodelet struct {
	t      *testing.T
	client nodev1.FleetClient
	stream grpc.BidiStreamingClient[nodev1.FromNode, nodev1.ToNode]
	leave  context.CancelFunc
}

// connect begins a session and takes its Sync.
func (w *world) connect(node string, pods ...*nodev1.PodReport) (*fakeNodelet, *nodev1.Sync) {
	w.t.Helper()
	n := w.open(w.dial(w.certificate(node)))
	n.send(helloOf(node, pods...))
	sync := n.next().GetSync()
	if sync == nil {
		w.t.Fatal("the first message is no sync")
	}
	return n, sync
}

func (w *world) open(client nodev1.FleetClient) *fakeNodelet {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	w.t.Cleanup(cancel)
	stream, err := client.Session(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return &fakeNodelet{t: w.t, client: client, stream: stream, leave: cancel}
}

func helloOf(node string, pods ...*nodev1.PodReport) *nodev1.FromNode {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node, Labels: map[string]string{"zone": "a"}}}
	n.Status.Allocatable = corev1.ResourceList{
		"cpu": resource.MustParse("4"), "memory": resource.MustParse("8Gi"), "pods": resource.MustParse("50"),
	}
	b, err := n.Marshal()
	if err != nil {
		panic(err)
	}
	return &nodev1.FromNode{Message: &nodev1.FromNode_Hello{Hello: &nodev1.Hello{Version: "test", Node: b, Pods: pods}}}
}

// send says something. That the session has ended is told by what is received.
func (n *fakeNodelet) send(m *nodev1.FromNode) { _ = n.stream.Send(m) }

func (n *fakeNodelet) report(in ...*nodev1.PodReport) {
	n.send(&nodev1.FromNode{Message: &nodev1.FromNode_Reports{Reports: &nodev1.PodReports{Pods: in}}})
}

func (n *fakeNodelet) segments(in ...*nodev1.Segment) {
	n.send(&nodev1.FromNode{Message: &nodev1.FromNode_Segments{Segments: &nodev1.Segments{Segments: in}}})
}

func (n *fakeNodelet) heartbeat(hb *nodev1.Heartbeat) {
	n.send(&nodev1.FromNode{Message: &nodev1.FromNode_Heartbeat{Heartbeat: hb}})
}

func (n *fakeNodelet) next() *nodev1.ToNode {
	n.t.Helper()
	m, err := n.receive()
	if err != nil {
		n.t.Fatalf("the session ended: %v", err)
	}
	return m
}

// end is the code with which the session ends; what comes before is passed over.
func (n *fakeNodelet) end() codes.Code {
	n.t.Helper()
	for {
		if _, err := n.receive(); err != nil {
			return status.Code(err)
		}
	}
}

func (n *fakeNodelet) receive() (*nodev1.ToNode, error) {
	stuck := time.AfterFunc(patience, n.leave)
	defer stuck.Stop()
	return n.stream.Recv()
}

func (n *fakeNodelet) acked() []string {
	n.t.Helper()
	ack := n.next().GetAck()
	if ack == nil {
		n.t.Fatal("the message is no ack")
	}
	var out []string
	for _, id := range ack.Ids {
		out = append(out, segmentOf(&nodev1.Segment{PodUid: id.PodUid, Generation: id.Generation, Sequence: id.Sequence}).ID.String())
	}
	slices.Sort(out)
	return out
}

func podOn(node, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID("uid-" + name), Generation: 1},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "main", Image: "i"}}},
		Status:     corev1.PodStatus{Phase: corev1.PodPending},
	}
}

func reportOf(name string, phase corev1.PodPhase, change ...func(*corev1.PodStatus)) *nodev1.PodReport {
	st := corev1.PodStatus{Phase: phase}
	for _, c := range change {
		c(&st)
	}
	b, err := st.Marshal()
	if err != nil {
		panic(err)
	}
	return &nodev1.PodReport{Uid: "uid-" + name, Namespace: "default", Name: name, Status: b}
}

func isReady(st *corev1.PodStatus) {
	st.Conditions = append(st.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
}

func finished(r *nodev1.PodReport) *nodev1.PodReport {
	r.Finished = true
	return r
}

// segmentEpoch is in 2026; segments take a second each.
const segmentEpoch = 1_767_225_600_000

func segmentFor(name string, sequence int64) *nodev1.Segment {
	return &nodev1.Segment{
		ComputeClass: "general-purpose", Qos: "default",
		PodUid: "uid-" + name, Generation: 1, Sequence: sequence, Namespace: "default", Pod: name,
		CpuMilli: 250, MemoryBytes: 1 << 20, StartUnixMilli: segmentEpoch + 1000*sequence, EndUnixMilli: segmentEpoch + 1000*(sequence+1),
	}
}

func assigned(t *testing.T, a *nodev1.Assignment) *corev1.Pod {
	t.Helper()
	if a == nil {
		t.Fatal("the message is no assignment")
	}
	var pod corev1.Pod
	if err := pod.Unmarshal(a.Pod); err != nil {
		t.Fatal(err)
	}
	return &pod
}

func names(t *testing.T, sync *nodev1.Sync) []string {
	var out []string
	for _, a := range sync.Pods {
		out = append(out, assigned(t, a).Name)
	}
	slices.Sort(out)
	return out
}
