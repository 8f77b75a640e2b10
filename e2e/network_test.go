package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestNetwork looks at what a pod reaches, by what names, and what reaches it.
func TestNetwork(t *testing.T) {
	scenarios{
		"pods-meet": podsMeet,
		"to-host":   podReachesHost,
		"host-port": hostPort,
		"names":     podNames,
		"resolver":  podResolver,
		"sysctls":   safeSysctls,
		"own-ports": ownPorts,
		"from-host": hostReachesPod,
		"loopback":  hostLoopbackIsClosed,
	}.run(t)
}

const serving = `echo "$HOSTNAME serves" > /tmp/page; exec httpd -f -p 8080 -h /tmp`

// served gets a page, for as long as nobody listens yet or again.
func served(t *testing.T, url string) string {
	t.Helper()
	timeout := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var body []byte
		resp, err := http.Get(url)
		if err == nil {
			body, err = io.ReadAll(resp.Body)
			resp.Body.Close() //nolint:errcheck // it was only read
		}
		if err == nil {
			return string(body)
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatal(err)
		}
	}
}

// podsMeet has one pod ask another by its address, which is its own.
func podsMeet(t *testing.T, ns string) {
	server := create(t, client, ns, shellPod("server", serving))
	out := succeed(t, ns, shellPod("asks", fmt.Sprintf(
		`until wget -qO- http://%s:8080/page; do sleep 0.2; done; ip -4 -o addr show eth0; ping -c 1 -W 5 %s | grep -o '1 packets received'`, server.Status.PodIP, server.Status.PodIP)))
	asks := await(t, client, ns, "asks", "there", func(*corev1.Pod) bool { return true })
	mustMatch(t, out, `^server serves\n.* inet `+strings.ReplaceAll(asks.Status.PodIP, ".", `\.`)+`/.*\n1 packets received\n$`)
	if asks.Status.PodIP == server.Status.PodIP || asks.Status.PodIP == "" {
		t.Errorf("both pods have the address %q", asks.Status.PodIP)
	}
}

func podReachesHost(t *testing.T, ns string) {
	o := observe(t)
	pod := shellPod("p", fmt.Sprintf("wget -qO- http://$HOST:%d/from-the-pod", o.port))
	pod.Spec.Containers[0].Env = []corev1.EnvVar{fieldEnv("HOST", "status.hostIP")}
	succeed(t, ns, pod)
	equal(t, "call", o.await(t, 1)[0], "/from-the-pod")
}

func hostReachesPod(t *testing.T, ns string) {
	pod := create(t, client, ns, shellPod("p", serving))
	equal(t, "page", served(t, "http://"+pod.Status.PodIP+":8080/page"), "p serves\n")
}

// freePort answers a port that nobody has, for as long as nobody takes it.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// hostPort reaches a pod by a port of the host: on loopback, by the host's address, and from another pod;
// it is gone with the pod.
func hostPort(t *testing.T, ns string) {
	port := freePort(t)
	pod := shellPod("server", serving)
	pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080, HostPort: int32(port)}}
	pod = create(t, client, ns, pod)
	for _, host := range []string{"127.0.0.1", pod.Status.HostIP} {
		equal(t, "page by "+host, served(t, fmt.Sprintf("http://%s:%d/page", host, port)), "server serves\n")
	}
	asks := shellPod("asks", fmt.Sprintf("wget -qO- http://$HOST:%d/page", port))
	asks.Spec.Containers[0].Env = []corev1.EnvVar{fieldEnv("HOST", "status.hostIP")}
	equal(t, "page from another pod", succeed(t, ns, asks), "server serves\n")

	// Another pod that wants the same port isn't given it.
	second := shellPod("second", serving)
	second.Spec.Containers[0].Ports = pod.Spec.Containers[0].Ports
	post(t, ns, second)
	refused := func(p *corev1.Pod) bool {
		c := conditionOf(p, corev1.PodScheduled)
		return c.Status == corev1.ConditionFalse && contains(c.Message, "port")
	}
	await(t, client, ns, "second", "told that the port is taken", refused)

	kubectl(t, "-n", ns, "delete", "pod", "server", "--now")
	await(t, client, ns, "second", "ready once the port is free", ready)
	equal(t, "page of the second", served(t, fmt.Sprintf("http://127.0.0.1:%d/page", port)), "second serves\n")
	kubectl(t, "-n", ns, "delete", "pod", "second", "--now")
	if c, err := net.DialTimeout("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), 5*time.Second); err == nil {
		c.Close() //nolint:errcheck // nothing was written
		t.Error("the host's port is open after its pod is gone")
	}
}

func podNames(t *testing.T, ns string) {
	pod := shellPod("p", "hostname; echo $HOSTNAME; cat /etc/hostname /etc/hosts")
	pod.Spec.HostAliases = []corev1.HostAlias{{IP: "192.0.2.7", Hostnames: []string{"db.example", "cache.example"}}}
	out := succeed(t, ns, pod)
	is := await(t, client, ns, "p", "there", func(*corev1.Pod) bool { return true })
	mustMatch(t, out, `^p\np\np\n`)
	mustMatch(t, out, `(?m)^127\.0\.0\.1\s+localhost$`)
	mustMatch(t, out, `(?m)^`+is.Status.PodIP+`\s+p$`)
	mustMatch(t, out, `(?m)^192\.0\.2\.7\s+db\.example\s+cache\.example$`)

	pod = shellPod("named", "hostname; ping -c 1 -W 5 other.sub."+ns+".svc.cluster.local | head -1; cat /etc/hosts")
	pod.Spec.Hostname, pod.Spec.Subdomain = "other", "sub"
	out = succeed(t, ns, pod)
	mustMatch(t, out, `^other\nPING other.sub.`+ns+`.svc.cluster.local \(10\.`)

	pod = shellPod("full", "hostname; hostname -f")
	pod.Spec.Hostname, pod.Spec.Subdomain, pod.Spec.SetHostnameAsFQDN = "h", "s", new(true)
	full := "h.s." + ns + ".svc.cluster.local"
	equal(t, "full name", succeed(t, ns, pod), full+"\n"+full+"\n")
}

func podResolver(t *testing.T, ns string) {
	pod := shellPod("none", "cat /etc/resolv.conf")
	pod.Spec.DNSPolicy = corev1.DNSNone
	pod.Spec.DNSConfig = &corev1.PodDNSConfig{
		Nameservers: []string{"192.0.2.53", "192.0.2.54"}, Searches: []string{"a.example", "b.example"},
		Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: new("2")}, {Name: "edns0"}},
	}
	equal(t, "resolv.conf of DNSNone", succeed(t, ns, pod),
		"search a.example b.example\nnameserver 192.0.2.53\nnameserver 192.0.2.54\noptions ndots:2 edns0\n")

	host, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		t.Fatal(err)
	}
	pod = shellPod("host", "cat /etc/resolv.conf")
	pod.Spec.DNSPolicy = corev1.DNSDefault
	pod.Spec.DNSConfig = &corev1.PodDNSConfig{Searches: []string{"more.example"}}
	out := succeed(t, ns, pod)
	for line := range strings.Lines(string(host)) {
		if server, ok := strings.CutPrefix(line, "nameserver "); ok && !strings.HasPrefix(server, "127.") && !strings.Contains(out, line) {
			t.Errorf("the host's %q isn't in\n%s", strings.TrimSpace(line), out)
		}
	}
	mustMatch(t, out, `(?m)^search .*more\.example$`)
}

func safeSysctls(t *testing.T, ns string) {
	pod := shellPod("p", "cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/net/ipv4/ip_unprivileged_port_start")
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{
		{Name: "net.ipv4.ip_local_port_range", Value: "2000 3000"}, {Name: "net.ipv4.ip_unprivileged_port_start", Value: "0"},
	}}
	equal(t, "values", succeed(t, ns, pod), "2000\t3000\n0\n")
	pod = shellPod("unsafe", "true")
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "kernel.msgmax", Value: "1"}}}
	_, err := client.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{})
	if !apierrors.IsInvalid(err) || !contains(err.Error(), "spec.securityContext.sysctls[0].name") {
		t.Errorf("a sysctl of the whole host answers %v", err)
	}
}

// ownPorts has two pods listen on the same port.
func ownPorts(t *testing.T, ns string) {
	post(t, ns, shellPod("a", serving))
	post(t, ns, shellPod("b", serving))
	for _, name := range []string{"a", "b"} {
		pod := await(t, client, ns, name, "ready", ready)
		equal(t, "page of "+name, served(t, "http://"+pod.Status.PodIP+":8080/page"), name+" serves\n")
	}
}

// hostLoopbackIsClosed: what the host serves to itself alone isn't open to pods.
func hostLoopbackIsClosed(t *testing.T, ns string) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	pod := shellPod("p", fmt.Sprintf(`g=$(ip route | awk '/^default/ {print $3}'); for a in $g $HOST; do nc -w 2 $a %d < /dev/null 2> /dev/null && echo open; done; echo done`, port))
	pod.Spec.Containers[0].Env = []corev1.EnvVar{fieldEnv("HOST", "status.hostIP")}
	equal(t, "what the pod finds", succeed(t, ns, pod), "done\n")
}
