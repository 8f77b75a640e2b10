package nodelet

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// hostFiles are the files that every container of a pod shares, in the pod's folder.
const (
	fileHosts    = "etc-hosts"
	fileHostname = "etc-hostname"
	fileResolv   = "etc-resolv.conf"
)

// hostname answers the pod's short name and, where it has a subdomain, its full one.
func hostname(pod *corev1.Pod, clusterDomain string) (short, full string) {
	short = pod.Spec.Hostname
	if short == "" {
		short = pod.Name
	}
	if len(short) > 63 {
		short = strings.TrimRight(short[:63], "-.")
	}
	if pod.Spec.HostnameOverride != nil {
		return *pod.Spec.HostnameOverride, ""
	}
	if pod.Spec.Subdomain != "" {
		full = fmt.Sprintf("%s.%s.%s.svc.%s", short, pod.Spec.Subdomain, pod.Namespace, clusterDomain)
	}
	return short, full
}

// utsHostname answers what the kernel shall call the pod. It takes 64 characters at most.
func utsHostname(pod *corev1.Pod, clusterDomain string) (string, error) {
	short, full := hostname(pod, clusterDomain)
	if !isTrue(pod.Spec.SetHostnameAsFQDN) || full == "" {
		return short, nil
	}
	if len(full) > 64 {
		return "", fmt.Errorf("pod %s/%s: FQDN %q is longer than 64 characters and can't be the hostname", pod.Namespace, pod.Name, full)
	}
	return full, nil
}

func hostsFile(pod *corev1.Pod, ip, clusterDomain string) []byte {
	var b bytes.Buffer
	b.WriteString("# Kubernetes-managed hosts file.\n" +
		"127.0.0.1\tlocalhost\n" +
		"::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::0\tip6-localnet\n" +
		"fe00::0\tip6-mcastprefix\n" +
		"fe00::1\tip6-allnodes\n" +
		"fe00::2\tip6-allrouters\n")
	if short, full := hostname(pod, clusterDomain); full != "" {
		fmt.Fprintf(&b, "%s\t%s\t%s\n", ip, full, short)
	} else {
		fmt.Fprintf(&b, "%s\t%s\n", ip, short)
	}
	if len(pod.Spec.HostAliases) > 0 {
		b.WriteString("\n# Entries added by HostAliases.\n")
		for _, alias := range pod.Spec.HostAliases {
			fmt.Fprintf(&b, "%s\t%s\n", alias.IP, strings.Join(alias.Hostnames, "\t"))
		}
	}
	return b.Bytes()
}

// resolver is the content of a resolv.conf.
type resolver struct{ servers, searches, options []string }

func (r *resolver) bytes() []byte {
	var b bytes.Buffer
	if len(r.searches) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(r.searches, " "))
	}
	for _, s := range r.servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	if len(r.options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(r.options, " "))
	}
	return b.Bytes()
}

func parseResolver(raw []byte) *resolver {
	r := &resolver{}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			r.servers = append(r.servers, fields[1])
		case "search":
			r.searches = fields[1:]
		case "options":
			r.options = fields[1:]
		}
	}
	return r
}

// podResolver merges the pod's DNS policy and configuration over the host's.
func podResolver(pod *corev1.Pod, host *resolver, clusterDNS []string, clusterDomain string) *resolver {
	r := &resolver{}
	policy := pod.Spec.DNSPolicy
	switch {
	case policy == corev1.DNSNone:
	case policy != corev1.DNSDefault && len(clusterDNS) > 0:
		r.servers = slices.Clone(clusterDNS)
		r.searches = append([]string{pod.Namespace + ".svc." + clusterDomain, "svc." + clusterDomain, clusterDomain}, host.searches...)
		r.options = []string{"ndots:5"}
	default:
		r = &resolver{slices.Clone(host.servers), slices.Clone(host.searches), slices.Clone(host.options)}
	}
	if extra := pod.Spec.DNSConfig; extra != nil {
		r.servers = unique(append(r.servers, extra.Nameservers...))
		r.searches = unique(append(r.searches, extra.Searches...))
		for _, o := range extra.Options {
			r.options = slices.DeleteFunc(r.options, func(s string) bool {
				name, _, _ := strings.Cut(s, ":")
				return name == o.Name
			})
			option := o.Name
			if o.Value != nil && *o.Value != "" {
				option += ":" + *o.Value
			}
			r.options = append(r.options, option)
		}
	}
	if len(r.servers) > 3 { // the C library's bound
		r.servers = r.servers[:3]
	}
	return r
}

func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
