package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"swell.dev/swell/internal/instance"
	"swell.dev/swell/internal/pki"
)

// kubeConfig says how to run Kubernetes: etcd, kube-apiserver and kube-scheduler, each a process, with their
// own data and certificates in a directory.
type kubeConfig struct {
	binaries string // folder of the three programs
	dir      string
	nodes    int
	limited  bool // the scheduler keeps its default limit of requests (50 a second); otherwise it has none that counts
}

// kube is Kubernetes that runs.
type kube struct {
	cfg    kubeConfig
	ports  kubePorts
	rest   *rest.Config
	client kubernetes.Interface

	daemons []*daemon // in the order of their start
}

type kubePorts struct{ etcd, peer, api, scheduler string } // host:port on loopback

// The names under which certificates are kept, and whose they are.
const (
	certServer    = "apiserver"
	certAdmin     = "admin"
	certScheduler = "scheduler"
	keyAccounts   = "service-accounts"
)

// startKube returns when pods can be created and are scheduled to the nodes.
func startKube(ctx context.Context, cfg kubeConfig) (_ *kube, err error) {
	k := &kube{cfg: cfg}
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	for _, p := range []*string{&k.ports.etcd, &k.ports.peer, &k.ports.api, &k.ports.scheduler} {
		if *p, err = instance.FreeAddress(); err != nil {
			return nil, err
		}
	}
	if err := k.credentials(); err != nil {
		return nil, err
	}
	if err := k.start(ctx, "etcd", http.DefaultClient, "http://"+k.ports.etcd+"/health", k.etcdArgs()); err != nil {
		return nil, err
	}
	https, err := rest.HTTPClientFor(k.rest)
	if err != nil {
		return nil, err
	}
	if err := k.start(ctx, "kube-apiserver", https, k.rest.Host+"/readyz", k.apiserverArgs()); err != nil {
		return nil, err
	}
	if err := k.makeObjects(ctx); err != nil {
		return nil, err
	}
	// The scheduler comes last, as after a restart: ready says that it has seen every node.
	scheduler, err := insecureClient()
	if err != nil {
		return nil, err
	}
	return k, k.start(ctx, "kube-scheduler", scheduler, "https://"+k.ports.scheduler+"/readyz", k.schedulerArgs())
}

// insecureClient is for the scheduler's readiness alone: it serves with a certificate that it makes for itself.
func insecureClient() (*http.Client, error) {
	return rest.HTTPClientFor(&rest.Config{TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
}

func (k *kube) start(ctx context.Context, name string, client *http.Client, ready string, args []string) error {
	d, err := startDaemon(name, filepath.Join(k.cfg.binaries, name), k.cfg.dir, args...)
	if err != nil {
		return err
	}
	k.daemons = append(k.daemons, d)
	return d.await(ctx, client, ready, readyWithin)
}

func (k *kube) pki() string { return filepath.Join(k.cfg.dir, "pki") }

// file answers the path of one of the files that the authority keeps.
func (k *kube) file(name, suffix string) string { return filepath.Join(k.pki(), name+suffix) }

// credentials makes an authority, certificates for the server, for whoever measures and for the scheduler, the
// key of service accounts' tokens, and the scheduler's kubeconfig.
func (k *kube) credentials() error {
	ca, err := pki.Open(k.pki())
	if err != nil {
		return err
	}
	_, err = ca.Server(certServer, []string{"127.0.0.1", "localhost", "kubernetes.default.svc"})
	for _, c := range []struct {
		name, user string
		groups     []string
	}{
		{certAdmin, "perf", []string{"system:masters"}}, // exempt from API priority and fairness
		{certScheduler, "system:kube-scheduler", nil},
		{keyAccounts, keyAccounts, nil}, // of which only the key is used
	} {
		if err == nil {
			_, err = ca.Client(c.name, c.user, c.groups)
		}
	}
	if err != nil {
		return err
	}
	k.rest = &rest.Config{
		Host: "https://" + k.ports.api, QPS: -1, Burst: -1,
		TLSClientConfig: rest.TLSClientConfig{CAFile: k.file("ca", ".crt"), CertFile: k.file(certAdmin, ".crt"), KeyFile: k.file(certAdmin, ".key")},
	}
	if k.client, err = kubernetes.NewForConfig(k.rest); err != nil {
		return err
	}
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"peer": {Server: k.rest.Host, CertificateAuthority: k.file("ca", ".crt")}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{certScheduler: {ClientCertificate: k.file(certScheduler, ".crt"), ClientKey: k.file(certScheduler, ".key")}},
		Contexts:       map[string]*clientcmdapi.Context{"peer": {Cluster: "peer", AuthInfo: certScheduler}},
		CurrentContext: "peer",
	}, k.schedulerKubeconfig())
}

func (k *kube) schedulerKubeconfig() string { return filepath.Join(k.cfg.dir, "scheduler.kubeconfig") }

// etcdArgs: one member, fsync on as it always is, no TLS on loopback, and room for as much as Swell's.
func (k *kube) etcdArgs() []string {
	client, peer := "http://"+k.ports.etcd, "http://"+k.ports.peer
	return []string{
		"--name=peer", "--data-dir=" + filepath.Join(k.cfg.dir, "etcd"), "--log-level=warn", "--quota-backend-bytes=8589934592",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=peer=" + peer,
	}
}

// apiserverArgs: what a cluster set up by kubeadm has, but for what needs more machines than one (the endpoints
// of the service kubernetes, which can't be on loopback).
func (k *kube) apiserverArgs() []string {
	host, port := split(k.ports.api)
	return []string{
		"--etcd-servers=http://" + k.ports.etcd,
		"--bind-address=" + host, "--secure-port=" + port, "--advertise-address=" + host, "--endpoint-reconciler-type=none",
		"--client-ca-file=" + k.file("ca", ".crt"),
		"--tls-cert-file=" + k.file(certServer, ".crt"), "--tls-private-key-file=" + k.file(certServer, ".key"),
		"--requestheader-client-ca-file=" + k.file("ca", ".crt"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + k.file(keyAccounts, ".key"), "--service-account-signing-key-file=" + k.file(keyAccounts, ".key"),
		"--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged=true",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
	}
}

// schedulerArgs: its defaults, leader election included.
func (k *kube) schedulerArgs() []string {
	host, port := split(k.ports.scheduler)
	config := k.schedulerKubeconfig()
	args := []string{
		"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--bind-address=" + host, "--secure-port=" + port,
	}
	if !k.cfg.limited {
		args = append(args, "--kube-api-qps=5000", "--kube-api-burst=10000")
	}
	return args
}

// split parts an address that instance.FreeAddress made.
func split(address string) (host, port string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		panic(err)
	}
	return host, port
}

// close ends the processes, the last one first.
func (k *kube) close() {
	for i := len(k.daemons) - 1; i >= 0; i-- {
		k.daemons[i].stop()
	}
}

// kubePrograms are what startKube runs.
var kubePrograms = []string{"etcd", "kube-apiserver", "kube-scheduler"}

// checkPrograms says what to do where they are missing.
func checkPrograms(dir string) error {
	var errs []error
	for _, p := range kubePrograms {
		if _, err := os.Stat(filepath.Join(dir, p)); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("run make bench-peers, which builds them: %w", errors.Join(errs...))
	}
	return nil
}
