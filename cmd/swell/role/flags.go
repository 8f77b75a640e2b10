package role

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"swell.dev/swell/billing"
	"swell.dev/swell/nodelet/session"
)

// Ports that are taken unless a flag says otherwise.
const (
	defaultListen     = "127.0.0.1:6443"
	defaultNodeListen = "127.0.0.1:6444"
)

// controlPlaneConfig is what the control plane's role is told.
type controlPlaneConfig struct {
	AllowPrivileged bool
	Listen          string
	NodeListen      string
	SANs            []string
	EtcdEndpoints   []string
	EtcdCA          string
	EtcdCert        string
	EtcdKey         string
	TokenFile       string
	PriceFile       string
	Ledger          string
	LedgerRetention days
	Prescheduling   preschedulingConfig
	Sizing          sizingConfig
}

func (c *controlPlaneConfig) flags(f *pflag.FlagSet, nodeListen string) {
	f.StringVar(&c.Listen, "listen", defaultListen, "address of the REST API; the default is reachable from this machine only")
	f.StringVar(&c.NodeListen, "node-listen", nodeListen, "address that nodelets dial; port 0 chooses a free one")
	f.StringSliceVar(&c.SANs, "tls-san", nil, "more names and addresses that the server's certificate is valid for")
	f.StringSliceVar(&c.EtcdEndpoints, "etcd-endpoints", nil, "an etcd cluster to use instead of the embedded one")
	f.StringVar(&c.EtcdCA, "etcd-ca", "", "file with the CA of that cluster")
	f.StringVar(&c.EtcdCert, "etcd-cert", "", "file with the client certificate for that cluster")
	f.StringVar(&c.EtcdKey, "etcd-key", "", "file with the key of that certificate")
	f.StringVar(&c.TokenFile, "token-file", "", `bearer tokens, a line each: token,user,uid,"group1,group2" (default DATA-DIR/tokens.csv)`)
	f.BoolVar(&c.AllowPrivileged, "allow-privileged", false, "let users run containers with rights over their host: privileged ones, and capabilities such as SYS_ADMIN")
	c.Prescheduling.flags(f)
	c.Sizing.flags(f)
	f.StringVar(&c.Ledger, "ledger", "", "where metering segments are kept: a folder (SQLite; default DATA-DIR/ledger), or a database such as postgres://swell@db.example.com/swell")
	f.Var(&c.LedgerRetention, "ledger-retention", "how long after their end segments are kept at least, in days such as 800d; 0: for ever")
	f.StringVar(&c.PriceFile, "price-file", billing.DefaultBook, "prices to bill by: a file, a folder of files, or "+strings.Join(billing.Shipped(), " or "))
}

func (c *controlPlaneConfig) validate() error {
	if err := c.Prescheduling.validate(); err != nil {
		return err
	}
	if err := c.Sizing.validate(); err != nil {
		return err
	}
	for _, a := range []struct{ flag, value string }{{"--listen", c.Listen}, {"--node-listen", c.NodeListen}} {
		if _, _, err := net.SplitHostPort(a.value); err != nil {
			return fmt.Errorf("%s: %q is not host:port: %w", a.flag, a.value, err)
		}
	}
	for _, a := range []struct{ flag, value string }{
		{"--token-file", c.TokenFile}, {"--etcd-ca", c.EtcdCA}, {"--etcd-cert", c.EtcdCert}, {"--etcd-key", c.EtcdKey},
	} {
		if a.value == "" {
			continue
		}
		if _, err := os.Stat(a.value); err != nil {
			return fmt.Errorf("%s: %w", a.flag, err)
		}
	}
	if _, err := c.books(); err != nil {
		return err
	}
	if (c.EtcdCert == "") != (c.EtcdKey == "") {
		return fmt.Errorf("--etcd-cert and --etcd-key go together")
	}
	if len(c.EtcdEndpoints) == 0 && (c.EtcdCA != "" || c.EtcdCert != "") {
		return fmt.Errorf("--etcd-ca, --etcd-cert and --etcd-key go with --etcd-endpoints")
	}
	return nil
}

// books reads what --price-file names.
func (c *controlPlaneConfig) books() (*billing.Books, error) {
	books, err := billing.LoadBooks(cmp.Or(c.PriceFile, billing.DefaultBook))
	if err != nil {
		return nil, fmt.Errorf("--price-file: %w", err)
	}
	return books, nil
}

// nodeletConfig is what the nodelet's role is told.
type nodeletConfig struct {
	NodeName         string
	NodeIP           string
	Labels           []string
	Capacity         string
	PodCIDR          string
	ContainerdSocket string
	BinDir           string
	Heartbeat        time.Duration
	UsageHistory     time.Duration
	MemoryWindow     time.Duration
	Reflex           string
	MemoryThrottling float64
	MemoryReserve    string
	MetricsListen    string // of the nodelet's own
}

// Kubernetes' names for what a kubelet reserves of memory.
const (
	reserveNone   = "None"
	reserveTiered = "TieredReservation"
)

func (c *nodeletConfig) flags(f *pflag.FlagSet) {
	f.StringVar(&c.NodeName, "node-name", "", "name of this node (default: the host's name)")
	f.StringVar(&c.NodeIP, "node-ip", "", "address of this node that its pods are told (default: that of the default route's interface)")
	f.StringSliceVar(&c.Labels, "node-label", nil, "label of this node, key=value; several are separated by commas")
	f.StringVar(&c.Capacity, "capacity", "", "capacity to offer instead of the host's own, for example cpu=8,memory=16Gi,pods=200")
	f.StringVar(&c.PodCIDR, "pod-cidr", "", "IPv4 range for pods (default: a free /24 out of 10.0.0.0/8)")
	f.StringVar(&c.ContainerdSocket, "containerd-socket", "", "use the containerd at this socket instead of one of Swell's own")
	f.StringVar(&c.BinDir, "bin-dir", "", "folder of containerd, its shim, runc, swell-logger and swell-hold (default: that of swell, then $PATH)")
	f.DurationVar(&c.Heartbeat, "heartbeat", 10*time.Second, "how often usage is reported")
	f.DurationVar(&c.UsageHistory, "usage-history", time.Minute, "how often histograms of what containers used are told, for recommendations; 0: never, and none are kept")
	f.DurationVar(&c.MemoryWindow, "memory-window", 24*time.Hour, "time in which a container's memory counts with its peak")
	f.StringVar(&c.Reflex, "reflex", reflexAuto, "how pods that may burst are seen to be stopped by their CPU quota: auto, fentry, sched_switch, poll, or off: none may burst")
	f.Float64Var(&c.MemoryThrottling, "memory-throttling-factor", 0, "cgroup v2: above which part of the way from a container's memory request to its limit it is slowed down (memory.high), for example 0.9; 0: nowhere")
	f.StringVar(&c.MemoryReserve, "memory-reservation-policy", reserveNone, "cgroup v2: TieredReservation keeps the memory that Guaranteed (memory.min) and Burstable pods (memory.low) request; or None")
	_ = f.MarkHidden("memory-window") // to see days pass in minutes; it is there
}

func (c *nodeletConfig) complete() error {
	if c.NodeName == "" {
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		c.NodeName = strings.ToLower(host)
	}
	if problems := validation.IsDNS1123Subdomain(c.NodeName); len(problems) > 0 {
		return fmt.Errorf("--node-name: %q: %s", c.NodeName, problems[0])
	}
	if c.NodeIP == "" {
		ip, err := defaultIP()
		if err != nil {
			return err
		}
		c.NodeIP = ip
	}
	if net.ParseIP(c.NodeIP) == nil {
		return fmt.Errorf("--node-ip: %q is not an address", c.NodeIP)
	}
	if c.Heartbeat < 0 || c.Heartbeat > session.MaxHeartbeat {
		return fmt.Errorf("--heartbeat %s: at most %s, or the control plane takes the node for lost", c.Heartbeat, session.MaxHeartbeat)
	}
	if c.UsageHistory < 0 {
		return fmt.Errorf("--usage-history %s: want 0 or more", c.UsageHistory)
	}
	if c.MemoryThrottling < 0 || c.MemoryThrottling > 1 {
		return fmt.Errorf("--memory-throttling-factor %g: want 0 (off) to 1", c.MemoryThrottling)
	}
	if c.MemoryReserve == "" { // swell down has no such flag
		c.MemoryReserve = reserveNone
	}
	if c.MemoryReserve != reserveNone && c.MemoryReserve != reserveTiered {
		return fmt.Errorf("--memory-reservation-policy %q: want %s or %s", c.MemoryReserve, reserveNone, reserveTiered)
	}
	if c.MetricsListen != "" {
		if _, _, err := net.SplitHostPort(c.MetricsListen); err != nil {
			return fmt.Errorf("--metrics-listen: %q: must be host:port", c.MetricsListen)
		}
	}
	if _, _, err := reflexRungs(c.Reflex); err != nil {
		return err
	}
	if c.PodCIDR != "" {
		if _, _, err := net.ParseCIDR(c.PodCIDR); err != nil {
			return fmt.Errorf("--pod-cidr: %w", err)
		}
	}
	if _, err := c.labels(); err != nil {
		return err
	}
	if c.BinDir == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		c.BinDir = filepath.Dir(self)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("running containers needs root: run it as root, for example with sudo")
	}
	return nil
}

func (c *nodeletConfig) labels() (map[string]string, error) {
	out := make(map[string]string, len(c.Labels))
	for _, l := range c.Labels {
		k, v, ok := strings.Cut(l, "=")
		if !ok {
			return nil, fmt.Errorf("--node-label: %q: want key=value", l)
		}
		if problems := validation.IsQualifiedName(k); len(problems) > 0 {
			return nil, fmt.Errorf("--node-label: key %q: %s", k, problems[0])
		}
		if problems := validation.IsValidLabelValue(v); len(problems) > 0 {
			return nil, fmt.Errorf("--node-label: value %q: %s", v, problems[0])
		}
		out[k] = v
	}
	return out, nil
}

// defaultIP is the address that packets to elsewhere leave from, loopback on a host that has none.
// Nothing is sent: connecting a datagram socket only looks the route up.
func defaultIP() (string, error) {
	conn, err := net.Dial("udp4", "192.0.2.1:9") // a documentation address (RFC 5737)
	if err != nil {
		return "127.0.0.1", nil // no route: a host by itself
	}
	defer conn.Close()
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	return host, err
}
