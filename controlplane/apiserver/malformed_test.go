package apiserver

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/controlplane"
)

const podsPath = "/api/v1/namespaces/default/pods"

func podJSON(name, extra string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q},"spec":{"containers":[{"name":"c","image":"i"%s}]}}`, name, extra)
}

// TestRefusals is what bad requests are answered: code, reason, and a piece of the message or of a cause.
func TestRefusals(t *testing.T) {
	h := start(t)
	if a := h.do("POST", podsPath, podJSON("there", "")); a.code != http.StatusCreated {
		t.Fatalf("%d %s", a.code, a.body)
	}
	const (
		merge     = "application/merge-patch+json"
		jsonPatch = "application/json-patch+json"
		strategic = "application/strategic-merge-patch+json"
		apply     = "application/apply-patch+yaml"
	)
	tests := []struct {
		name, method, path, body string
		headers                  []string
		code                     int
		reason                   metav1.StatusReason
		says                     string
	}{
		{"not JSON", "POST", podsPath, `{"kind":`, nil, 400, metav1.StatusReasonBadRequest, "unexpected"},
		{"empty body", "POST", podsPath, "", nil, 400, metav1.StatusReasonBadRequest, "empty"},
		{"an array", "POST", podsPath, `[]`, nil, 400, metav1.StatusReasonBadRequest, "cannot unmarshal"},
		{"wrong type", "POST", podsPath, `{"apiVersion":"v1","kind":"Pod","spec":{"containers":"none"}}`, nil, 400, metav1.StatusReasonBadRequest, `Pod in version "v1" cannot be handled as a Pod`},
		{"bad quantity", "POST", podsPath, podJSON("q", `,"resources":{"limits":{"cpu":"much"}}`), nil, 400, metav1.StatusReasonBadRequest, "quantities must match"},
		{"other kind", "POST", podsPath, `{"apiVersion":"v1","kind":"ConfigMap"}`, nil, 400, metav1.StatusReasonBadRequest, "cannot be handled as a Pod"},
		{"other version", "POST", podsPath, `{"apiVersion":"v2","kind":"Pod"}`, nil, 400, metav1.StatusReasonBadRequest, "v2"},
		{"unknown field", "POST", podsPath + "?fieldValidation=Strict", podJSON("u", `,"imagine":1`), nil, 400, metav1.StatusReasonBadRequest, `unknown field "spec.containers[0].imagine"`},
		{"duplicate field", "POST", podsPath + "?fieldValidation=Strict", podJSON("u", `,"image":"j"`), nil, 400, metav1.StatusReasonBadRequest, `duplicate field "spec.containers[0].image"`},
		{"bad option", "POST", podsPath + "?fieldValidation=Maybe", podJSON("u", ""), nil, 422, metav1.StatusReasonInvalid, "fieldValidation"},
		{"bad dry run", "POST", podsPath + "?dryRun=Some", podJSON("u", ""), nil, 422, metav1.StatusReasonInvalid, "dryRun"},
		{"CBOR", "POST", podsPath, "\xa0", []string{"Content-Type", "application/cbor"}, 415, metav1.StatusReasonUnsupportedMediaType, "application/vnd.kubernetes.protobuf"},
		{"not protobuf", "POST", podsPath, "k8s", []string{"Content-Type", mediaProtobuf}, 400, metav1.StatusReasonBadRequest, "Pod"},
		{"too large", "POST", podsPath, podJSON("l", `,"command":["`+strings.Repeat("x", bodyLimit)+`"]`), nil, 413, metav1.StatusReasonRequestEntityTooLarge, "3145728"},
		{"bad name", "POST", podsPath, podJSON("Not_A_Name", ""), nil, 422, metav1.StatusReasonInvalid, "metadata.name"},
		{"long name", "POST", podsPath, podJSON(strings.Repeat("n", 254), ""), nil, 422, metav1.StatusReasonInvalid, "metadata.name"},
		{"no name", "POST", podsPath, podJSON("", ""), nil, 422, metav1.StatusReasonInvalid, "name or generateName is required"},
		{"negative", "POST", podsPath, podJSON("n", `,"resources":{"limits":{"cpu":"-1"}}`), nil, 422, metav1.StatusReasonInvalid, "spec.containers[0].resources.limits[cpu]"},
		{"other namespace", "POST", podsPath, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","namespace":"other"}}`, nil, 400, metav1.StatusReasonBadRequest, "does not match the namespace"},
		{"no namespace", "POST", "/api/v1/namespaces/none/pods", podJSON("x", ""), nil, 404, metav1.StatusReasonNotFound, `namespaces "none" not found`},
		{"versioned", "POST", podsPath, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","resourceVersion":"1"}}`, nil, 400, metav1.StatusReasonBadRequest, "resourceVersion should not be set"},
		{"exists", "POST", podsPath, podJSON("there", ""), nil, 409, metav1.StatusReasonAlreadyExists, `pods "there" already exists`},
		{"bad label", "POST", podsPath, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","labels":{"a b":"c"}},"spec":{"containers":[{"name":"c","image":"i"}]}}`, nil, 422, metav1.StatusReasonInvalid, "metadata.labels"},

		{"no pod", "GET", podsPath + "/none", "", nil, 404, metav1.StatusReasonNotFound, `pods "none" not found`},
		{"no resource", "GET", "/api/v1/namespaces/default/services", "", nil, 404, metav1.StatusReasonNotFound, "could not find the requested resource"},
		{"no group", "GET", "/apis/apps/v1/namespaces/default/deployments", "", nil, 404, metav1.StatusReasonNotFound, "could not find the requested resource"},
		{"no path", "GET", "/nothing", "", nil, 404, metav1.StatusReasonNotFound, "could not find the requested resource"},
		{"no subresource", "GET", podsPath + "/there/ephemeralcontainers", "", nil, 404, metav1.StatusReasonNotFound, "could not find the requested resource"},
		{"put without a namespace", "PUT", "/api/v1/pods/there", podJSON("there", ""), nil, 404, metav1.StatusReasonNotFound, "could not find"},
		{"status is ours", "PUT", podsPath + "/there/status", podJSON("there", ""), nil, 405, metav1.StatusReasonMethodNotAllowed, "not supported"},
		{"no create of nodes", "POST", "/api/v1/nodes", "{}", nil, 405, metav1.StatusReasonMethodNotAllowed, "not supported"},
		{"post to an item", "POST", podsPath + "/there", podJSON("there", ""), nil, 405, metav1.StatusReasonMethodNotAllowed, "not supported"},
		{"not acceptable", "GET", podsPath, "", []string{"Accept", "image/png"}, 406, metav1.StatusReasonNotAcceptable, "application/json"},
		{"watch in YAML", "GET", podsPath + "?watch=1", "", []string{"Accept", mediaYAML}, 406, metav1.StatusReasonNotAcceptable, "application/json"},

		{"bad selector", "GET", podsPath + "?labelSelector=a%20b", "", nil, 400, metav1.StatusReasonBadRequest, "unable to parse"},
		{"bad field", "GET", podsPath + "?fieldSelector=spec.nothing=1", "", nil, 400, metav1.StatusReasonBadRequest, "field label not supported: spec.nothing"},
		{"bad version", "GET", podsPath + "?resourceVersion=x", "", nil, 422, metav1.StatusReasonInvalid, "resourceVersion"},
		{"version to come", "GET", podsPath + "?resourceVersion=999999", "", nil, 504, metav1.StatusReasonTimeout, "Too large resource version"},
		{"version gone", "GET", podsPath + "?resourceVersion=5&resourceVersionMatch=Exact", "", nil, 410, metav1.StatusReasonExpired, "too old"},
		{"bad continue", "GET", podsPath + "?continue=x", "", nil, 400, metav1.StatusReasonBadRequest, "continue"},
		{"bad match", "GET", podsPath + "?watch=1&sendInitialEvents=true", "", nil, 422, metav1.StatusReasonInvalid, "resourceVersionMatch"},

		{"unknown patch", "PATCH", podsPath + "/there", "{}", []string{"Content-Type", mediaJSON}, 415, metav1.StatusReasonUnsupportedMediaType, merge},
		{"patch of nothing", "PATCH", podsPath + "/none", "{}", []string{"Content-Type", merge}, 404, metav1.StatusReasonNotFound, "none"},
		{"patch not JSON", "PATCH", podsPath + "/there", "{", []string{"Content-Type", strategic}, 400, metav1.StatusReasonBadRequest, ""},
		{"merge not JSON", "PATCH", podsPath + "/there", "{", []string{"Content-Type", merge}, 400, metav1.StatusReasonBadRequest, ""},
		{"failed test", "PATCH", podsPath + "/there", `[{"op":"test","path":"/metadata/name","value":"x"}]`, []string{"Content-Type", jsonPatch}, 422, metav1.StatusReasonInvalid, "test"},
		{"operations not a list", "PATCH", podsPath + "/there", `{}`, []string{"Content-Type", jsonPatch}, 400, metav1.StatusReasonBadRequest, ""},
		{"patch to a wrong type", "PATCH", podsPath + "/there", `{"spec":{"containers":"x"}}`, []string{"Content-Type", merge}, 422, metav1.StatusReasonInvalid, "patch"},
		{"patch of an unknown field", "PATCH", podsPath + "/there?fieldValidation=Strict", `{"spec":{"nothing":1}}`, []string{"Content-Type", merge}, 422, metav1.StatusReasonInvalid, `unknown field "spec.nothing"`},
		{"patch of what is fixed", "PATCH", podsPath + "/there", `{"spec":{"restartPolicy":"Never"}}`, []string{"Content-Type", merge}, 422, metav1.StatusReasonInvalid, "may not change"},
		{"patch of the name", "PATCH", podsPath + "/there", `{"metadata":{"name":"x"}}`, []string{"Content-Type", merge}, 400, metav1.StatusReasonBadRequest, "does not match the name on the URL"},
		{"patch of the UID", "PATCH", podsPath + "/there", `{"metadata":{"uid":"x"}}`, []string{"Content-Type", merge}, 409, metav1.StatusReasonConflict, "UID"},
		{"stale patch", "PATCH", podsPath + "/there", `{"metadata":{"resourceVersion":"1"}}`, []string{"Content-Type", merge}, 409, metav1.StatusReasonConflict, optimisticLockMessage},
		{"apply by nobody", "PATCH", podsPath + "/there", podJSON("there", ""), []string{"Content-Type", apply}, 422, metav1.StatusReasonInvalid, "fieldManager"},
		{"apply not YAML", "PATCH", podsPath + "/there?fieldManager=m", "a: [", []string{"Content-Type", apply}, 400, metav1.StatusReasonBadRequest, ""},
		{"force without apply", "PATCH", podsPath + "/there?force=true", `{}`, []string{"Content-Type", merge}, 422, metav1.StatusReasonInvalid, "force"},
		{"put of nothing", "PUT", podsPath + "/none", podJSON("none", ""), nil, 404, metav1.StatusReasonNotFound, "none"},
		{"put of another", "PUT", podsPath + "/there", podJSON("other", ""), nil, 400, metav1.StatusReasonBadRequest, "does not match the name on the URL"},

		{"delete of nothing", "DELETE", podsPath + "/none", "", nil, 404, metav1.StatusReasonNotFound, "none"},
		{"delete, bad propagation", "DELETE", podsPath + "/there?propagationPolicy=Some", "", nil, 422, metav1.StatusReasonInvalid, "propagationPolicy"},
		{"delete, bad body", "DELETE", podsPath + "/there", "{", nil, 400, metav1.StatusReasonBadRequest, "DeleteOptions"},
		{"delete of default", "DELETE", "/api/v1/namespaces/default", "", nil, 403, metav1.StatusReasonForbidden, "may not be deleted"},

		{"bad config key", "POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"c"},"data":{"a b":""}}`, nil, 422, metav1.StatusReasonInvalid, "data[a b]"},
		{"secret without its key", "POST", "/api/v1/namespaces/default/secrets", `{"metadata":{"name":"s"},"type":"kubernetes.io/dockerconfigjson"}`, nil, 422, metav1.StatusReasonInvalid, "data[.dockerconfigjson]"},
		{"event elsewhere", "POST", "/api/v1/namespaces/default/events", `{"metadata":{"name":"e"},"involvedObject":{"namespace":"x"}}`, nil, 422, metav1.StatusReasonInvalid, "involvedObject.namespace"},
		{"no such node", "POST", "/apis/swell.dev/v1alpha1/nodes/none/images", "", nil, 404, metav1.StatusReasonNotFound, "none"},
		{"nobody", "GET", podsPath, "", []string{"Authorization", ""}, 401, metav1.StatusReasonUnauthorized, "Unauthorized"},
		{"not allowed", "POST", podsPath, podJSON("x", ""), []string{"Authorization", "Bearer reader"}, 403, metav1.StatusReasonForbidden, `pods is forbidden: User "reader" cannot create resource "pods" in API group "" in the namespace "default"`},
		{"exec needs create", "GET", podsPath + "/there/exec", "", []string{"Authorization", "Bearer reader"}, 403, metav1.StatusReasonForbidden, `cannot create resource "pods/exec"`},
		{"apply needs create", "PATCH", podsPath + "/new?fieldManager=m", podJSON("new", ""), []string{"Content-Type", apply, "Authorization", "Bearer reader"}, 403, metav1.StatusReasonForbidden, "cannot patch"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := h.do(tt.method, tt.path, tt.body, tt.headers...)
			st := a.status(t)
			if a.code != tt.code || int(st.Code) != tt.code || st.Reason != tt.reason || st.Status != metav1.StatusFailure {
				t.Errorf("%d %s %q, want %d %s", a.code, st.Reason, st.Message, tt.code, tt.reason)
			}
			text := st.Message
			if st.Details != nil {
				for _, c := range st.Details.Causes {
					text += " " + c.Field + " " + c.Message
				}
			}
			if !strings.Contains(text, tt.says) {
				t.Errorf("%q isn't in %q", tt.says, text)
			}
		})
	}
	if h.logged.Len() > 0 {
		t.Errorf("logged: %s", h.logged)
	}
}

func TestWarnings(t *testing.T) {
	h := start(t)
	a := h.do("POST", podsPath+"?fieldValidation=Warn", podJSON("a", `,"imagine":1,"image":"i"`))
	if a.code != 201 || len(a.header.Values("Warning")) != 2 || !strings.Contains(strings.Join(a.header.Values("Warning"), ""), `unknown field \"spec.containers[0].imagine\"`) {
		t.Errorf("%d %q", a.code, a.header.Values("Warning"))
	}
	if a = h.do("POST", podsPath+"?fieldValidation=Ignore", podJSON("b", `,"imagine":1`)); a.code != 201 || len(a.header.Values("Warning")) != 0 {
		t.Errorf("%d %q", a.code, a.header.Values("Warning"))
	}
	a = h.do("PATCH", podsPath+"/a", `{"metadata":{"labels":{"x":"1","x":"2"}},"nothing":1}`, "Content-Type", "application/merge-patch+json")
	if a.code != 200 || len(a.header.Values("Warning")) != 2 {
		t.Errorf("%d %q %s", a.code, a.header.Values("Warning"), a.body)
	}
}

// TestClasses checks that each class of error below the API becomes its code.
func TestClasses(t *testing.T) {
	tests := []struct {
		err   error
		code  int
		retry string
	}{
		{controlplane.ErrOverloaded, 429, "1"},
		{controlplane.ErrUnavailable, 503, "1"},
		{controlplane.ErrNotLeader, 503, "1"},
		{controlplane.ErrConflict, 409, ""},
		{controlplane.ErrNoStorage, 507, ""},
		{errors.New("disk on fire"), 500, ""},
	}
	for _, tt := range tests {
		t.Run(tt.err.Error(), func(t *testing.T) {
			h := start(t)
			h.store.failWith(tt.err)
			a := h.do("POST", podsPath, podJSON("a", ""))
			a.status(t)
			if a.code != tt.code || a.header.Get("Retry-After") != tt.retry {
				t.Errorf("%d, Retry-After %q", a.code, a.header.Get("Retry-After"))
			}
			h.ledger.mu.Lock()
			defer h.ledger.mu.Unlock()
			if len(h.ledger.held) != 0 {
				t.Errorf("the room isn't given back: %v", h.ledger.held)
			}
		})
	}
}

func TestPanicIsContained(t *testing.T) {
	h := start(t, func(c *Config) {
		c.Admission.Default = func(p *corev1.Pod) {
			if p.Name == "bomb" {
				panic("boom")
			}
		}
	})
	if a := h.do("POST", podsPath, podJSON("bomb", "")); a.code != 500 || a.status(t).Reason != metav1.StatusReasonInternalError {
		t.Errorf("%d %s", a.code, a.body)
	}
	if !strings.Contains(h.logged.String(), "boom") {
		t.Error("not logged")
	}
	if a := h.do("GET", podsPath, ""); a.code != 200 {
		t.Errorf("afterwards: %d", a.code)
	}
}
