package client

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
)

// podFlags describes a pod with one container.
type podFlags struct {
	image, pull      string
	cpu, memory      string
	env, ports       []string
	labels           []string
	class, qos       string
	boost            string
	restart          string
	workdir          string
	command          bool
	node, pullSecret string
}

var (
	classes   = []string{v1alpha1.ClassGeneralPurpose, v1alpha1.ClassPerformance, v1alpha1.ClassGPU}
	qualities = []string{v1alpha1.QoSDefault, v1alpha1.QoSBestEffort}
	restarts  = []string{string(corev1.RestartPolicyAlways), string(corev1.RestartPolicyOnFailure), string(corev1.RestartPolicyNever)}
	pulls     = map[string]corev1.PullPolicy{"": "", "always": corev1.PullAlways, "missing": corev1.PullIfNotPresent, "never": corev1.PullNever}
)

func (p *podFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.image, "image", "", "image (required)")
	f.StringVar(&p.pull, "pull", "", "when to pull the image: always, missing, never (default: always for the tag latest, else missing)")
	f.StringVar(&p.cpu, "cpu", "", "CPUs: 2, 1.5, 250m (default: the server's)")
	f.StringVar(&p.memory, "memory", "", "memory: 512Mi, 2Gi (default: the server's)")
	f.StringArrayVarP(&p.env, "env", "e", nil, "environment variable KEY=VALUE (repeatable)")
	f.StringSliceVarP(&p.ports, "port", "p", nil, "port that the container listens on: 8080, 53/udp, or HOST:CONTAINER to bind it on the host (repeatable)")
	f.StringSliceVarP(&p.labels, "label", "l", nil, "label KEY=VALUE (repeatable)")
	f.StringVar(&p.class, "class", "", "compute class: "+strings.Join(classes, ", "))
	f.StringVar(&p.qos, "qos", "", "quality of service: "+strings.Join(qualities, ", "))
	f.StringVar(&p.boost, "startup-boost", "", "more CPU until the container is ready: cpu=2, cpu=3x,for=90s")
	f.StringVar(&p.restart, "restart", "", "when to restart the container: Always, OnFailure, Never (default Always)")
	f.StringVarP(&p.workdir, "workdir", "w", "", "working directory in the container")
	f.BoolVar(&p.command, "command", false, "what follows -- replaces the image's entry point too")
	f.StringVar(&p.node, "node", "", "only on this node")
	f.StringVar(&p.pullSecret, "pull-secret", "", "secret with the registry's credentials")
	for name, values := range map[string][]string{"class": classes, "qos": qualities, "restart": restarts, "pull": {"always", "missing", "never"}} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
}

// build answers the pod. once is for a pod that runs to its end under the user's eyes.
func (p *podFlags) build(name string, args []string, once bool) (*corev1.Pod, error) {
	if p.image == "" {
		return nil, errors.New("--image is missing")
	}
	pull, ok := pulls[strings.ToLower(p.pull)]
	if !ok {
		return nil, fmt.Errorf("--pull %q: must be one of always, missing, never", p.pull)
	}
	size, err := sizes(p.cpu, p.memory)
	if err != nil {
		return nil, err
	}
	restart, err := p.restartPolicy(once)
	if err != nil {
		return nil, err
	}
	container := corev1.Container{Name: name, Image: p.image, ImagePullPolicy: pull, WorkingDir: p.workdir}
	if len(size) > 0 {
		container.Resources = corev1.ResourceRequirements{Requests: size, Limits: size}
	}
	if p.command {
		container.Command = args
	} else {
		container.Args = args
	}
	for _, text := range p.env {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--env %q: write KEY=VALUE", text)
		}
		container.Env = append(container.Env, corev1.EnvVar{Name: key, Value: value})
	}
	for _, text := range p.ports {
		port, err := parsePort(text)
		if err != nil {
			return nil, err
		}
		container.Ports = append(container.Ports, port)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{container}, RestartPolicy: restart, NodeName: p.node},
	}
	if p.pullSecret != "" {
		pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: p.pullSecret}}
	}
	if pod.Labels, err = p.labelSet(); err != nil {
		return nil, err
	}
	return pod, p.annotate(pod)
}

func (p *podFlags) restartPolicy(once bool) (corev1.RestartPolicy, error) {
	if p.restart == "" {
		if once {
			return corev1.RestartPolicyNever, nil
		}
		return "", nil
	}
	for _, r := range restarts {
		if !strings.EqualFold(r, p.restart) {
			continue
		}
		if once && r != string(corev1.RestartPolicyNever) {
			return "", fmt.Errorf("--rm waits for the pod's end, which --restart %s puts off: leave out one of them", r)
		}
		return corev1.RestartPolicy(r), nil
	}
	return "", fmt.Errorf("--restart %q: must be one of %s", p.restart, strings.Join(restarts, ", "))
}

func (p *podFlags) labelSet() (map[string]string, error) {
	if len(p.labels) == 0 {
		return nil, nil
	}
	set := make(map[string]string, len(p.labels))
	for _, text := range p.labels {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--label %q: write KEY=VALUE", text)
		}
		set[key] = value
	}
	return set, nil
}

func (p *podFlags) annotate(pod *corev1.Pod) error {
	for _, a := range []struct {
		flag, annotation, value string
		allowed                 []string
	}{
		{"class", v1alpha1.AnnotationComputeClass, p.class, classes},
		{"qos", v1alpha1.AnnotationQoS, p.qos, qualities},
	} {
		if a.value == "" {
			continue
		}
		if !slices.Contains(a.allowed, a.value) {
			return fmt.Errorf("--%s %q: must be one of %s", a.flag, a.value, strings.Join(a.allowed, ", "))
		}
		metav1.SetMetaDataAnnotation(&pod.ObjectMeta, a.annotation, a.value)
	}
	if p.boost == "" {
		return nil
	}
	metav1.SetMetaDataAnnotation(&pod.ObjectMeta, v1alpha1.AnnotationStartupBoost, p.boost)
	if err := v1alpha1.CheckBoosts(pod); err != nil {
		return fmt.Errorf("--startup-boost: %w", err)
	}
	return nil
}

// parsePort reads [HOST:]CONTAINER[/PROTOCOL].
func parsePort(text string) (corev1.ContainerPort, error) {
	bad := fmt.Errorf("--port %q: write 8080, 53/udp or HOST:CONTAINER", text)
	numbers, protocol, _ := strings.Cut(text, "/")
	port := corev1.ContainerPort{}
	switch strings.ToLower(protocol) {
	case "", "tcp":
		port.Protocol = corev1.ProtocolTCP
	case "udp":
		port.Protocol = corev1.ProtocolUDP
	default:
		return port, bad
	}
	host, container, both := strings.Cut(numbers, ":")
	if !both {
		host, container = "", host
	}
	for _, n := range []struct {
		text string
		into *int32
	}{{host, &port.HostPort}, {container, &port.ContainerPort}} {
		if n.text == "" && n.into == &port.HostPort && !both {
			continue
		}
		v, err := strconv.ParseUint(n.text, 10, 16)
		if err != nil || v == 0 {
			return port, bad
		}
		*n.into = int32(v)
	}
	return port, nil
}
