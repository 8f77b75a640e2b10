package role

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/ledger"
	"swell.dev/swell/cmd/swell/costs"
	"swell.dev/swell/cmd/swell/plans"
	"swell.dev/swell/cmd/swell/spending"
	"swell.dev/swell/controlplane/admission"
	"swell.dev/swell/controlplane/apiserver"
	"swell.dev/swell/controlplane/auth"
	"swell.dev/swell/controlplane/budgets"
	"swell.dev/swell/controlplane/nodes"
	"swell.dev/swell/controlplane/projects"
	"swell.dev/swell/controlplane/quota"
	"swell.dev/swell/controlplane/scheduler"
	"swell.dev/swell/controlplane/sizing"
	"swell.dev/swell/controlplane/slots"
	"swell.dev/swell/controlplane/store"
	"swell.dev/swell/controlplane/streaming"
	"swell.dev/swell/internal/etcd"
	"swell.dev/swell/internal/pki"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// controlPlane is the running role.
type controlPlane struct {
	cfg     controlPlaneConfig
	dir     *dataDir
	version string
	log     *slog.Logger

	ca       *pki.CA
	tokens   *auth.JoinTokens
	books    *billing.Books
	ledger   *ledger.Ledger
	costs    *costs.Engine
	billing  costs.API
	etcd     *etcd.Server // nil with an external cluster
	client   *clientv3.Client
	store    *store.Store
	sched    *scheduler.Scheduler
	hub      *nodes.Hub
	slots    *slots.Controller  // nil: prescheduling is off
	sizing   *sizing.Controller // nil: there are no recommendations
	quota    *quota.Counter
	accounts *projects.Accounts
	budgets  *budgets.Controller
	meter    *spending.Meter
	keeper   *plans.Keeper
	hubMade  atomic.Pointer[nodes.Hub] // for the ledger, which is there first
	api      *apiserver.Server
	apiMade  chan struct{} // closed when api is there
	https    *http.Server
	grpc     *grpc.Server
	apiAddr  string
	nodeAddr string

	// loadedAt is the version that the scheduler was started with, 0 once it's followed from there.
	loadedAt uint64

	cancel context.CancelFunc
	wg     sync.WaitGroup
	failed chan error // capacity 1: why the role can't go on
}

// startControlPlane returns when the API serves. Where another replica leads, it waits until that one
// doesn't any more.
func startControlPlane(ctx context.Context, dir *dataDir, cfg controlPlaneConfig, version string, log *slog.Logger) (_ *controlPlane, err error) {
	relaxGC()
	c := &controlPlane{apiMade: make(chan struct{}), cfg: cfg, dir: dir, version: version, log: log, failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	// The ports first: one that is taken is found out before anything is changed.
	apiListener, err := listen("--listen", cfg.Listen)
	if err != nil {
		return nil, err
	}
	c.apiAddr = apiListener.Addr().String()
	nodeListener, err := listen("--node-listen", cfg.NodeListen)
	if err != nil {
		return nil, errors.Join(err, apiListener.Close())
	}
	c.nodeAddr = nodeListener.Addr().String()
	if err := c.serve(ctx, apiListener, nodeListener); err != nil {
		return nil, errors.Join(err, apiListener.Close(), nodeListener.Close())
	}
	return c, nil
}

func listen(flag, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w; stop what listens there, or choose another address", flag, addr, err)
	}
	return l, nil
}

// open opens everything durable.
func (c *controlPlane) open(ctx context.Context) error {
	var err error
	if c.ca, err = pki.Open(c.dir.join("pki")); err != nil {
		return err
	}
	if c.tokens, err = auth.OpenJoinTokens(c.dir.join("pki", "join-tokens.json")); err != nil {
		return err
	}
	if c.books, err = c.cfg.books(); err != nil {
		return err
	}
	where := c.cfg.Ledger
	if where == "" {
		where = c.dir.join("ledger")
	}
	if c.ledger, err = ledger.Open(ctx, where); err != nil {
		return err
	}
	if err := c.openCosts(ctx); err != nil {
		return err
	}
	if len(c.cfg.EtcdEndpoints) > 0 {
		c.client, err = etcd.Connect(ctx, etcd.External{
			Endpoints: c.cfg.EtcdEndpoints, CAFile: c.cfg.EtcdCA, CertFile: c.cfg.EtcdCert, KeyFile: c.cfg.EtcdKey,
		})
		return err
	}
	if c.etcd, err = etcd.Start(ctx, etcd.Config{Dir: c.dir.join("etcd")}); err != nil {
		return err
	}
	c.client = c.etcd.Client()
	return nil
}

// serve joins the parts and starts them.
func (c *controlPlane) serve(ctx context.Context, apiListener, nodeListener net.Listener) error {
	sc := storeConfig(c.client, c.dir.instance, c.log)
	if c.etcd != nil {
		sc.MaxBatchOps, sc.MaxBatchBytes = etcd.MaxTxnOps-24, etcd.MaxRequestBytes/2
		sc.Writable = c.etcd.Writable
	}
	pods := &loadedPods{index: nodes.NewPods()}
	sc.Loaded = pods.add
	var err error
	if c.store, err = store.Open(ctx, sc); err != nil {
		return err
	}
	c.loadedAt = c.store.Version()
	running, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	if c.sched, err = c.startScheduler(running, pods); err != nil {
		return err
	}
	if c.sizing, err = c.newSizing(); err != nil {
		return err
	}
	if c.hub, err = nodes.New(nodes.Config{
		Store: c.store, Ledger: tolerantLedger{c.ledger, c.log}, Scheduler: c.sched, Pods: pods.index, PodsVersion: c.loadedAt, Redeem: c.tokens.Redeem, Sign: c.ca.SignNode, Log: c.log,
		SlotReported: c.slotReported, UsageTold: c.usageTold, Ended: c.podEnded,
	}); err != nil {
		return err
	}
	c.hubMade.Store(c.hub)
	if c.slots, err = c.newSlots(); err != nil {
		return err
	}
	if c.quota, err = quota.New(quota.Config{Store: c.store, Log: c.log}); err != nil {
		return err
	}
	c.accounts = projects.New(c.store)
	if err := c.newBudgets(); err != nil {
		return err
	}
	if c.api, err = c.newAPI(); err != nil {
		return err
	}
	close(c.apiMade)
	c.run(running, "apiserver", c.api.Run)
	c.run(running, "nodes", c.hub.Run)
	c.run(running, "quota", c.quota.Run)
	c.run(running, "projects", c.accounts.Run)
	c.run(running, "budgets", c.watchBudgets)
	c.run(running, "savings plans", c.keeper.Run)
	if c.slots != nil {
		c.run(running, "slots", c.slots.Run)
	}
	if c.sizing != nil {
		c.run(running, "sizing", c.sizing.Run)
	}
	c.run(running, "ledger of capacity", c.followPods)
	c.run(running, "ledger", func(ctx context.Context) error {
		return c.ledger.Tend(ctx, c.cfg.LedgerRetention.duration(), func(err error) { c.log.Error("ledger", "cause", err) })
	})
	c.run(running, "store", func(ctx context.Context) error {
		select {
		case <-c.store.Lost():
			return errors.New("the lead is lost: another control plane took it, or etcd is out of reach")
		case <-ctx.Done():
			return nil
		}
	})
	if c.etcd != nil {
		c.run(running, "etcd", func(ctx context.Context) error {
			select {
			case <-c.etcd.Failed():
				return c.etcd.Err()
			case <-ctx.Done():
				return nil
			}
		})
	}
	return c.listenAndServe(apiListener, nodeListener)
}

// run starts a part that runs until its context ends; its error ends the role.
func (c *controlPlane) run(ctx context.Context, name string, part func(context.Context) error) {
	c.wg.Go(func() {
		if err := part(ctx); err != nil && ctx.Err() == nil {
			c.fail(fmt.Errorf("%s: %w", name, err))
		}
	})
}

func (c *controlPlane) fail(err error) {
	select {
	case c.failed <- err:
	default: // the first one is told
	}
}

func (c *controlPlane) newAPI() (*apiserver.Server, error) {
	users, err := c.users()
	if err != nil {
		return nil, err
	}
	streams := streaming.New(streaming.Config{Open: c.hub.Open})
	policy := admission.Policy{AllowPrivileged: c.cfg.AllowPrivileged}
	bounds := admission.Budgets{Currency: c.books.Currency()}
	var ahead apiserver.Slots
	if c.slots != nil {
		ahead = c.slots
	}
	cfg := apiserver.Config{
		Slots:     ahead,
		Quota:     c.quota,
		Budgets:   c.budgets,
		Sales:     c.sales(),
		MayMove:   c.mayMove,
		Store:     c.store,
		Scheduler: c.sched,
		Admission: apiserver.Admission{
			Default: admission.DefaultPod, ValidateMeta: admission.ValidateMeta, Validate: policy.ValidatePod,
			ValidateUpdate: admission.ValidatePodUpdate, ValidateResize: admission.ValidateResize, DefaultResize: admission.DefaultResize,
			DefaultLimitRange: admission.DefaultLimitRange, ValidateLimitRange: admission.ValidateLimitRange,
			ValidateResourceQuota: admission.ValidateResourceQuota, ValidateResourceQuotaUpdate: admission.ValidateResourceQuotaUpdate,
			LimitPod: admission.LimitPod, CheckLimits: admission.CheckLimits,
			DefaultSlotPolicy: admission.DefaultSlotPolicy, ValidateSlotPolicy: policy.ValidateSlotPolicy,
			ValidateStartupBoost: admission.ValidateStartupBoost,
			DefaultBudget:        bounds.Default, ValidateBudget: bounds.Validate,
		},
		Streams:        apiserver.Streams{Log: streams.Log, Exec: streams.Exec, PortForward: streams.PortForward},
		Bills:          c.bills,
		Billing:        c.billing.Serve,
		Price:          (&prices{books: c.books, region: c.regionOf, now: time.Now}).of,
		Usage:          c.hub.Usage,
		ImportImage:    c.importImage,
		ListImages:     c.listImages,
		IssueJoinToken: c.issueJoinToken,
		Metrics:        newMetrics(c.store, c.sched, c.slots, c.sizing, c.budgets),
		Authenticate:   users.Authenticate,
		Authorize:      auth.Authorize,
		Version:        c.version,
		Log:            c.log,
	}
	if c.sizing != nil {
		cfg.Recommendations, cfg.InitialSize = c.sizing.Recommendations, c.sizing.Initial
		cfg.Admission.DefaultAutosize, cfg.Admission.ValidateAutosize = admission.DefaultAutosize, admission.ValidateAutosize
	}
	return apiserver.New(cfg)
}

func (c *controlPlane) users() (*auth.Authenticator, error) {
	path := c.cfg.TokenFile
	if path == "" {
		path = c.dir.join("tokens.csv")
	}
	tokens, err := auth.NewTokenFile(path, c.log)
	if err != nil {
		return nil, err
	}
	return auth.NewAuthenticator(tokens), nil
}

func (c *controlPlane) issueJoinToken(_ context.Context, spec v1alpha1.JoinTokenSpec) (v1alpha1.JoinTokenStatus, error) {
	token, expires, err := c.tokens.New(time.Duration(spec.TTLSeconds) * time.Second)
	if err != nil {
		return v1alpha1.JoinTokenStatus{}, err
	}
	return v1alpha1.JoinTokenStatus{Token: token, ExpirationTimestamp: metav1.NewTime(expires), CAHash: c.ca.Hash()}, nil
}

func (c *controlPlane) listenAndServe(apiListener, nodeListener net.Listener) error {
	hosts, err := hostsOf([]string{c.apiAddr, c.nodeAddr}, c.cfg.SANs)
	if err != nil {
		return err
	}
	cert, err := newServerCertificate(c.ca, hosts)
	if err != nil {
		return err
	}
	config := &tls.Config{
		GetCertificate: cert.get, MinVersion: tls.VersionTLS12,
		ClientCAs: c.ca.Pool(), ClientAuth: tls.VerifyClientCertIfGiven,
	}
	c.https = &http.Server{
		Handler: c.api.Handler(), TLSConfig: config, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(c.log.Handler(), slog.LevelDebug),
	}
	c.grpc = grpc.NewServer(
		grpc.Creds(credentials.NewTLS(config)),
		grpc.MaxRecvMsgSize(64<<20), grpc.MaxSendMsgSize(64<<20),
		// There is a connection for each host. TLS has a record in a buffer of its own, and a connection that
		// has nothing to write needs no buffer.
		grpc.ReadBufferSize(0), grpc.SharedWriteBuffer(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	nodev1.RegisterFleetServer(c.grpc, c.hub)
	c.wg.Go(func() {
		if err := c.https.ServeTLS(apiListener, "", ""); err != nil && !errors.Is(err, http.ErrServerClosed) {
			c.fail(fmt.Errorf("REST API: %w", err))
		}
	})
	c.wg.Go(func() {
		if err := c.grpc.Serve(nodeListener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			c.fail(fmt.Errorf("node endpoint: %w", err))
		}
	})
	return c.writeKubeconfig()
}

// close ends what runs, in the order in which the parts depend on one another. It is idempotent.
func (c *controlPlane) close() error {
	var errs []error
	if c.cancel != nil {
		c.cancel() // which ends the watches
	}
	if c.https != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if err := c.https.Shutdown(ctx); err != nil { // a log or an exec goes on
			errs = append(errs, ignoreClosed(c.https.Close()))
		}
		cancel()
	}
	if c.grpc != nil {
		c.grpc.Stop()
	}
	c.wg.Wait()
	if c.sched != nil {
		c.sched.Close()
	}
	if c.store != nil {
		errs = append(errs, c.store.Close())
	}
	if c.etcd != nil {
		errs = append(errs, c.etcd.Close())
	} else if c.client != nil {
		errs = append(errs, c.client.Close())
	}
	if c.ledger != nil {
		errs = append(errs, c.ledger.Close())
	}
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (c *controlPlane) kubeconfig() string { return filepath.Join(c.dir.path, "kubeconfig") }
