package billing

import (
	"strings"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// Workload is what a pod is one of many of: a Deployment, an application.
type Workload struct {
	Kind string // Deployment, StatefulSet, DaemonSet, Job, CronJob; App: by label; Pod: by its name
	Name string
}

// Kinds of workloads that aren't controllers.
const (
	WorkloadApp = "App"
	WorkloadPod = "Pod"
)

// generatedSuffix is how long what Kubernetes appends to generated names is, and of which letters it is.
const (
	generatedSuffix  = 5
	generatedLetters = "bcdfghjklmnpqrstvwxz2456789"
)

// WorkloadOf answers what a segment's pod is an instance of, as far as its labels and its name tell: the controller
// whose labels it has, else the application that app.kubernetes.io/name or app names, else the pod's name without
// what was generated. Nothing is allocated.
func WorkloadOf(s *usagev1.Segment) Workload {
	name := s.Pod
	if hash := s.Labels["pod-template-hash"]; hash != "" {
		base := withoutSuffix(name)
		if of, ok := strings.CutSuffix(base, hash); ok && len(of) > 1 && of[len(of)-1] == '-' {
			return Workload{"Deployment", of[:len(of)-1]}
		}
		return Workload{"ReplicaSet", base}
	}
	for _, key := range [...]string{"batch.kubernetes.io/job-name", "job-name"} {
		if job := s.Labels[key]; job != "" {
			if cron, ok := cutNumber(job, 8); ok { // the minute that a CronJob appends
				return Workload{"CronJob", cron}
			}
			return Workload{"Job", job}
		}
	}
	for _, key := range [...]string{"apps.kubernetes.io/pod-index", "statefulset.kubernetes.io/pod-name"} {
		if s.Labels[key] != "" {
			if set, ok := cutNumber(name, 1); ok {
				return Workload{"StatefulSet", set}
			}
		}
	}
	if s.Labels["controller-revision-hash"] != "" {
		return Workload{"DaemonSet", withoutSuffix(name)}
	}
	for _, key := range [...]string{"app.kubernetes.io/name", "app"} {
		if app := s.Labels[key]; app != "" {
			return Workload{WorkloadApp, app}
		}
	}
	return Workload{WorkloadPod, withoutSuffix(name)}
}

// withoutSuffix takes off what Kubernetes appends to a generated name.
func withoutSuffix(name string) string {
	at := len(name) - generatedSuffix - 1
	if at <= 0 || name[at] != '-' {
		return name
	}
	for _, letter := range []byte(name[at+1:]) {
		if strings.IndexByte(generatedLetters, letter) < 0 {
			return name
		}
	}
	return name[:at]
}

// cutNumber takes off a hyphen and a number of at least so many digits.
func cutNumber(name string, digits int) (string, bool) {
	at := strings.LastIndexByte(name, '-')
	if at <= 0 || len(name)-at-1 < digits || strings.Trim(name[at+1:], "0123456789") != "" {
		return "", false
	}
	return name[:at], true
}
