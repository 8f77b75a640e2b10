package e2e

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// TestInformer follows pods with client-go's informer (protobuf bodies, watch-list) from before the
// first pod to after the last.
func TestInformer(t *testing.T) {
	ns := namespace(t)
	cfg, err := shared.REST()
	if err != nil {
		t.Fatal(err)
	}
	cfg.ContentType = "application/vnd.kubernetes.protobuf"
	cfg.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	proto, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	create(t, proto, ns, shellPod("before", "exec sleep 100000"))

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	factory := informers.NewSharedInformerFactoryWithOptions(proto, 0, informers.WithNamespace(ns))
	informer := factory.Core().V1().Pods().Informer()
	seen := make(chan string, 1000)
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { seen <- "add " + o.(*corev1.Pod).Name },
		DeleteFunc: func(o any) { seen <- "delete " + o.(*corev1.Pod).Name },
	}); err != nil {
		t.Fatal(err)
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer cancel()
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		t.Fatal("the informer didn't sync")
	}
	want := map[string]bool{"add before": true}
	for i := range 5 {
		name := fmt.Sprintf("p%d", i)
		create(t, proto, ns, shellPod(name, "exec sleep 100000"))
		want["add "+name] = true
		if err := proto.CoreV1().Pods(ns).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		want["delete "+name] = true
	}
	for len(want) > 0 {
		select {
		case e := <-seen:
			delete(want, e)
		case <-ctx.Done():
			t.Fatalf("never seen: %v", want)
		}
	}
}

// TestBadInput sends what is wrong and expects what Kubernetes answers.
func TestBadInput(t *testing.T) {
	ns := namespace(t)
	pods := func() restRequest {
		return restRequest{client.CoreV1().RESTClient().Post().Namespace(ns).Resource("pods")}
	}
	head := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":`
	for _, c := range []struct {
		name, body string
		code       int32
		says       string
	}{
		{"malformed JSON", `{"apiVersion":"v1",`, 400, ""},
		{"not an object", `[]`, 400, ""},
		{"wrong type", head + `{"containers":"one"}}`, 400, "containers"},
		{"no containers", head + `{"containers":[]}}`, 422, "spec.containers"},
		{"no image", head + `{"containers":[{"name":"a"}]}}`, 422, "spec.containers[0].image"},
		{"unknown field, strictly", head + `{"containers":[{"name":"a","image":"b","colour":"red"}]}}`, 400, "colour"},
		{"negative CPU", head + `{"containers":[{"name":"a","image":"b","resources":{"requests":{"cpu":"-1"}}}]}}`, 422, "spec.containers[0].resources.requests[cpu]"},
		{"request above limit", head + `{"containers":[{"name":"a","image":"b","resources":{"requests":{"cpu":"2"},"limits":{"cpu":"1"}}}]}}`, 422, "cpu"},
		{"absurd memory", head + `{"containers":[{"name":"a","image":"b","resources":{"requests":{"memory":"99999999999999999999Ei"}}}]}}`, 422, "memory"},
		{"name over the limit", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"` + fmt.Sprintf("%0300d", 1) + `"},"spec":{"containers":[{"name":"a","image":"b"}]}}`, 422, "metadata.name"},
		{"a field that isn't honoured", head + `{"hostNetwork":true,"containers":[{"name":"a","image":"b"}]}}`, 422, "spec.hostNetwork"},
		{"host path", head + `{"containers":[{"name":"a","image":"b"}],"volumes":[{"name":"v","hostPath":{"path":"/"}}]}}`, 422, "spec.volumes[0].hostPath"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := pods().create(t.Context(), c.body)
			var status apierrors.APIStatus
			if !asStatus(err, &status) {
				t.Fatalf("answer %v, not a Status", err)
			}
			if got := status.Status(); got.Code != c.code || !contains(got.Message, c.says) {
				t.Errorf("%d %q, want %d naming %q", got.Code, got.Message, c.code, c.says)
			}
		})
	}
	list, err := client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 0 {
		t.Errorf("bad input made %d pods", len(list.Items))
	}
}

// TestContainerErrors runs what can't run and expects to be told why.
func TestContainerErrors(t *testing.T) {
	ns := namespace(t)
	waiting := func(p *corev1.Pod) *corev1.ContainerStateWaiting {
		if len(p.Status.ContainerStatuses) == 0 {
			return nil
		}
		return p.Status.ContainerStatuses[0].State.Waiting
	}
	t.Run("image that doesn't exist", func(t *testing.T) {
		pod := shellPod("noimage", "true")
		registry := emptyRegistry(t)
		pod.Spec.Containers[0].Image = registry + "/missing:v1"
		if _, err := client.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		var said string
		await(t, client, ns, "noimage", "backing off from its image", func(p *corev1.Pod) bool {
			w := waiting(p)
			if w != nil && w.Reason == "ErrImagePull" {
				said = w.Message
			}
			return w != nil && w.Reason == "ImagePullBackOff"
		})
		events := kubectl(t, "-n", ns, "get", "events", "--field-selector", "involvedObject.name=noimage")
		if !contains(said+events, "missing:v1") || !contains(said+events, "not found") {
			t.Errorf("the registry's message isn't shown: %q\n%s", said, events)
		}
	})
	t.Run("command that doesn't exist", func(t *testing.T) {
		pod := shellPod("nocommand", "true")
		pod.Spec.Containers[0].Command = []string{"/no/such/program"}
		if _, err := client.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		await(t, client, ns, "nocommand", "told that its command is missing", func(p *corev1.Pod) bool {
			if len(p.Status.ContainerStatuses) == 0 {
				return false
			}
			st := p.Status.ContainerStatuses[0]
			return (st.State.Waiting != nil && contains(st.State.Waiting.Message, "no such file")) ||
				(st.State.Terminated != nil && contains(st.State.Terminated.Message, "no such file")) ||
				(st.LastTerminationState.Terminated != nil && contains(st.LastTerminationState.Terminated.Message, "no such file"))
		})
	})
	t.Run("more than there is", func(t *testing.T) {
		out, code := kubectlCode(t, "", "-n", ns, "run", "huge", "--image", busybox, "--overrides",
			`{"spec":{"containers":[{"name":"huge","image":"`+busybox+`","resources":{"requests":{"cpu":"1000"},"limits":{"cpu":"1000"}}}]}}`)
		if code != 0 {
			t.Fatalf("exit %d\n%s", code, out)
		}
		await(t, client, ns, "huge", "unschedulable", func(p *corev1.Pod) bool {
			for _, c := range p.Status.Conditions {
				if c.Type == corev1.PodScheduled {
					return c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable && contains(c.Message, "Insufficient cpu")
				}
			}
			return false
		})
	})
}
