package apiclient

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Explain says what happened and, where that is known, what to do: one line, and one more for each
// cause that a refusal lists and its message doesn't hold. Joined errors are explained one by one.
func Explain(err error) string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var lines []string
		for _, e := range joined.Unwrap() {
			lines = append(lines, Explain(e))
		}
		return strings.Join(lines, "\n")
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return explainStatus(err, status.Status())
	}
	if text, ok := explainTransport(err); ok {
		return text
	}
	return err.Error()
}

func explainStatus(err error, status metav1.Status) string {
	var b strings.Builder
	b.WriteString(strings.TrimSpace(err.Error()))
	if status.Details != nil {
		for _, cause := range status.Details.Causes {
			if cause.Message == "unknown" || strings.Contains(status.Message, cause.Message) {
				continue // "unknown" is a body that client-go couldn't read
			}
			if cause.Field != "" {
				fmt.Fprintf(&b, "\n  %s: %s", cause.Field, cause.Message)
			} else {
				fmt.Fprintf(&b, "\n  %s", cause.Message)
			}
		}
	}
	if hint := statusHint(status); hint != "" {
		b.WriteString("; " + hint)
	}
	return b.String()
}

func statusHint(status metav1.Status) string {
	kind := ""
	if status.Details != nil {
		kind = status.Details.Kind
	}
	switch status.Reason {
	case metav1.StatusReasonUnauthorized:
		return "the API doesn't know these credentials: use the kubeconfig that this `swell up` wrote"
	case metav1.StatusReasonForbidden:
		if kind == "namespaces" {
			return "create the namespace first"
		}
	case metav1.StatusReasonNotFound:
		switch kind {
		case "pods":
			return "`swell ps -A` lists the pods of all namespaces"
		case "nodes":
			return "`swell nodes` lists the nodes"
		case "":
			return "the server at this address doesn't serve it: is it Swell, and of this version (`swell version`)?"
		}
	case metav1.StatusReasonAlreadyExists:
		if kind == "pods" {
			return "choose another name, or remove it first with `swell rm`"
		}
	case metav1.StatusReasonConflict:
		return "somebody changed it meanwhile: try again"
	case metav1.StatusReasonTooManyRequests, metav1.StatusReasonServiceUnavailable:
		return "try again in a moment"
	}
	return ""
}

func explainTransport(err error) (string, bool) {
	where, cause := endpoint(err)
	if where == "" || errors.Is(err, context.Canceled) {
		return "", false
	}
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		dns       *net.DNSError
		timeout   interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &authority):
		return fmt.Sprintf("API at %s: its certificate is signed by another CA than the kubeconfig's; use the kubeconfig that this `swell up` wrote", where), true
	case errors.As(err, &host):
		return fmt.Sprintf("API at %s: %v; use an address that the certificate names", where, host), true
	case errors.As(err, &dns):
		return fmt.Sprintf("API at %s: %v; check the server address in the kubeconfig", where, dns), true
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("API at %s: connection refused; is it running? Start it with `swell up`", where), true
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("API at %s: no answer in time; check that it runs and that nothing stands between", where), true
	}
	return fmt.Sprintf("API at %s: %v", where, cause), true
}

// endpoint answers the server that err is about, and what is below: a request's error, or (where a
// connection is upgraded, as for exec) that of the dialling itself.
func endpoint(err error) (where string, cause error) {
	var (
		request *url.Error
		dialled *net.OpError
	)
	switch {
	case errors.As(err, &request):
		if u, parseErr := url.Parse(request.URL); parseErr == nil && u.Host != "" {
			return u.Scheme + "://" + u.Host, request.Err
		}
		return request.URL, request.Err
	case errors.As(err, &dialled) && dialled.Op == "dial" && dialled.Addr != nil:
		return dialled.Addr.String(), dialled.Err
	}
	return "", nil
}
