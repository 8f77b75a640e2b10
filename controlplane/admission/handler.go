package admission

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateProbe(p *corev1.Probe, once bool, at *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	errs := validateHandler(handler{exec: p.Exec, http: p.HTTPGet, tcp: p.TCPSocket, grpc: p.GRPC}, at)
	for _, n := range []struct {
		name  string
		value int32
	}{
		{"initialDelaySeconds", p.InitialDelaySeconds}, {"timeoutSeconds", p.TimeoutSeconds}, {"periodSeconds", p.PeriodSeconds},
		{"successThreshold", p.SuccessThreshold}, {"failureThreshold", p.FailureThreshold},
	} {
		if n.value < 0 {
			errs = append(errs, field.Invalid(at.Child(n.name), n.value, "must be greater than or equal to 0"))
		}
	}
	if once && p.SuccessThreshold != 1 {
		errs = append(errs, field.Invalid(at.Child("successThreshold"), p.SuccessThreshold, "must be 1"))
	}
	if g := p.TerminationGracePeriodSeconds; g != nil && !once {
		errs = append(errs, field.Invalid(at.Child("terminationGracePeriodSeconds"), *g, "must not be set for readinessProbes"))
	} else if g != nil && *g <= 0 {
		errs = append(errs, field.Invalid(at.Child("terminationGracePeriodSeconds"), *g, "must be greater than 0"))
	}
	return errs
}

type handler struct {
	exec  *corev1.ExecAction
	http  *corev1.HTTPGetAction
	tcp   *corev1.TCPSocketAction
	sleep *corev1.SleepAction
	grpc  *corev1.GRPCAction
	grace *int64 // the pod's, where the handler counts into it
}

func validateHook(h *corev1.LifecycleHandler, grace *int64, at *field.Path) field.ErrorList {
	if h == nil {
		return nil
	}
	return validateHandler(handler{exec: h.Exec, http: h.HTTPGet, tcp: h.TCPSocket, sleep: h.Sleep, grace: grace}, at)
}

// validateHandler takes one action. A second one is refused and not looked into, as in Kubernetes.
func validateHandler(h handler, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	n := 0
	only := func(name string, set bool, check func(at *field.Path)) {
		switch {
		case !set:
		case n > 0:
			errs = append(errs, field.Forbidden(at.Child(name), "may not specify more than 1 handler type"))
		default:
			n++
			check(at.Child(name))
		}
	}
	only("exec", h.exec != nil, func(at *field.Path) {
		if len(h.exec.Command) == 0 {
			errs = append(errs, field.Required(at.Child("command"), ""))
		}
	})
	only("httpGet", h.http != nil, func(at *field.Path) {
		if h.http.Path == "" {
			errs = append(errs, field.Required(at.Child("path"), ""))
		}
		errs = append(errs, validatePort(h.http.Port, at.Child("port"))...)
		errs = append(errs, supported(at.Child("scheme"), h.http.Scheme, corev1.URISchemeHTTP, corev1.URISchemeHTTPS)...)
		for i, header := range h.http.HTTPHeaders {
			errs = append(errs, invalid(at.Child("httpHeaders").Index(i).Child("name"), header.Name, validation.IsHTTPHeaderName(header.Name))...)
		}
	})
	only("tcpSocket", h.tcp != nil, func(at *field.Path) {
		errs = append(errs, validatePort(h.tcp.Port, at.Child("port"))...)
	})
	only("grpc", h.grpc != nil, func(at *field.Path) {
		errs = append(errs, validatePort(intstr.FromInt32(h.grpc.Port), at.Child("port"))...)
	})
	only("sleep", h.sleep != nil, func(at *field.Path) {
		switch {
		case h.sleep.Seconds < 0:
			errs = append(errs, field.Invalid(at.Child("seconds"), h.sleep.Seconds, "must be greater than or equal to 0"))
		case h.grace != nil && h.sleep.Seconds > *h.grace:
			errs = append(errs, field.Invalid(at.Child("seconds"), h.sleep.Seconds, fmt.Sprintf("must be less than or equal to the termination grace period of %d seconds", *h.grace)))
		}
	})
	if n == 0 {
		errs = append(errs, field.Required(at, "must specify a handler type"))
	}
	return errs
}

func validatePort(p intstr.IntOrString, at *field.Path) field.ErrorList {
	if p.Type == intstr.Int {
		return invalid(at, p.IntValue(), validation.IsValidPortNum(p.IntValue()))
	}
	return invalid(at, p.StrVal, validation.IsValidPortName(p.StrVal))
}

// validateStopSignal takes the signals that the nodelet can send. As in Kubernetes the pod has to say what
// it runs on, since signals differ.
func validateStopSignal(signal *corev1.Signal, os *corev1.PodOS, at *field.Path) field.ErrorList {
	if signal == nil {
		return nil
	}
	if os == nil {
		return field.ErrorList{field.Forbidden(at, "may not be set for containers with empty `spec.os.name`")}
	}
	if !isSignal(string(*signal)) {
		return field.ErrorList{field.Invalid(at, *signal, "must be the name of a Linux signal, such as SIGTERM or SIGRTMIN+3")}
	}
	return nil
}

// The kernel has 64 signals; the C library keeps the first two real-time ones to itself.
func isSignal(name string) bool {
	for base, most := range map[string]int{"SIGRTMIN+": 15, "SIGRTMAX-": 14} {
		if n, ok := strings.CutPrefix(name, base); ok {
			i, err := strconv.Atoi(n)
			return err == nil && 1 <= i && i <= most && n == strconv.Itoa(i)
		}
	}
	return name == "SIGRTMIN" || name == "SIGRTMAX" || strings.HasPrefix(name, "SIG") && unix.SignalNum(name) != 0
}
