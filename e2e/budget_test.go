package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/internal/instance"
)

// dearPrices make a vCPU cost 100 a second: a pod of 100m costs 10.
const dearPrices = `version: dear
effective: 2020-01-01
currency: EUR
prices:
  general-purpose:
    default: {vcpu: 360000, gib: 0}
    best-effort: {vcpu: 36000, gib: 0}
  performance:
    default: {vcpu: 360000, gib: 0}
    best-effort: {vcpu: 36000, gib: 0}
savingsPlans:
- {name: year, interval: day, term: 1y, returnWindow: 24h, discounts: [{discount: 55%}]}
`

// dear starts an instance with dear prices.
func dear(t *testing.T) *instance.Instance {
	t.Helper()
	return priced(t, dearPrices)
}

// priced starts an instance with a price book, which can run busybox.
func priced(t *testing.T, book string) *instance.Instance {
	t.Helper()
	in, err := instance.New(instance.Config{
		Binary: filepath.Join(binDir, "swell"), DataDir: filepath.Join(t.TempDir(), "priced"),
		Args: []string{"--capacity", capacity, "--price-file", writeFile(t, "prices.yaml", book)},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := in.Down(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := in.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if out, err := runSwell(ctx, in, "image", "import", archive); err != nil {
		t.Fatalf("image import: %v\n%s", err, out)
	}
	return in
}

// TestBudgetStops: within seconds of a budget's being spent nothing new is let in, over a restart too; what runs goes
// on, or is ended where the budget says so.
func TestBudgetStops(t *testing.T) {
	in := dear(t)
	ctx := t.Context()
	client, err := in.Client()
	if err != nil {
		t.Fatal(err)
	}
	ok := func(args ...string) string { t.Helper(); return kubectlOf(t, in, args...) }
	swell := func(args ...string) string {
		t.Helper()
		out, err := runSwell(ctx, in, args...)
		if err != nil {
			t.Fatalf("swell %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return out
	}
	refused := func(want string, args ...string) {
		t.Helper()
		out, err := command(ctx, in, "kubectl", args...).CombinedOutput()
		if err == nil || !regexp.MustCompile(want).Match(out) {
			t.Errorf("kubectl %s: want %s, got %v\n%s", strings.Join(args, " "), want, err, out)
		}
	}
	ok("create", "namespace", "shop")
	ok("label", "namespace", "shop", "swell.dev/account=acme")
	mustMatch(t, swell("budget", "set", "monthly", "100", "-n", "shop", "--hard-stop", "Deny", "--threshold", "50"), `budget/monthly made: 100 EUR a month, hard stop Deny`)
	if out, err := runSwell(ctx, in, "budget", "set", "bad", "-5", "-n", "shop"); err == nil {
		t.Errorf("a negative budget was made: %s", out)
	}
	create(t, client, "shop", shellPod("web", "exec sleep 100000"))
	// It costs 10 a second: ten seconds.
	ok("wait", "-n", "shop", "--for=jsonpath={.status.state}=Denying", "budget/monthly", "--timeout=60s")
	ok("wait", "-n", "shop", "--for=jsonpath={.status.crossed[0].percent}=50", "budget/monthly", "--timeout=60s")
	more := writeFile(t, "more.yaml", strings.NewReplacer("name: web", "name: more").Replace(webManifest))
	spent := `is forbidden: budget shop/monthly is spent: [0-9.]+ of 100.000000 EUR since .*; no new pods and no larger ones until the month ends at `
	refused(`pods "more" `+spent, "-n", "shop", "create", "-f", more)
	refused(`pods "more" `+spent, "-n", "shop", "create", "--dry-run=server", "-f", more)
	resize := func(cpu string) []string {
		return []string{"-n", "shop", "patch", "pod", "web", "--subresource", "resize", "-p", `{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"` + cpu + `"},"limits":{"cpu":"` + cpu + `"}}}]}}`}
	}
	refused(`pods "web" `+spent, resize("200m")...)
	mustMatch(t, ok(resize("50m")...), `pod/web patched`)
	ok("-n", "default", "create", "-f", more)
	mustMatch(t, ok("get", "events", "-n", "shop"), `Warning +BudgetThreshold +budget/monthly +budget shop/monthly: [0-9.]+ EUR of 100.000000 EUR is spent`)
	mustMatch(t, ok("get", "events", "-n", "shop"), `Warning +BudgetSpent +budget/monthly`)
	mustMatch(t, ok("get", "budgets", "-n", "shop"), `NAME +STATE +SPENT +AMOUNT +PERCENT +FORECAST +HARD-STOP +AGE\nmonthly +Denying +[0-9.]+ +100 EUR +1[0-9.]+%`)
	mustMatch(t, ok("explain", "budget.spec"), `hardStop`)
	mustMatch(t, swell("budget", "ls", "-A"), `shop +monthly +Denying`)

	// A control plane that starts anew refuses from its first request on.
	if err := in.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := in.Start(ctx); err != nil {
		t.Fatal(err)
	}
	refused(`pods "more" is forbidden: budget shop/monthly is spent`, "-n", "shop", "create", "-f", more)
	if pod := await(t, client, "shop", "web", "ready", ready); pod.DeletionTimestamp != nil {
		t.Error("the pod that ran was ended")
	}

	// A larger budget holds at once; one of the account is held against the same use, and ends it.
	mustMatch(t, swell("budget", "set", "monthly", "10000000", "-n", "shop"), `budget/monthly changed: 10000000 EUR a month, hard stop Deny`)
	ok("-n", "shop", "create", "-f", more)
	mustMatch(t, swell("budget", "set", "acme", "100", "--account", "acme", "--hard-stop", "DenyAndStop", "--grace", "0s"), `accountbudget/acme made`)
	awaitGone(t, client, "shop", "more")
	awaitGone(t, client, "shop", "web")
	mustMatch(t, ok("get", "events", "-n", "shop"), `Warning +BudgetSpent +pod/web +Ended: budget acme of account acme is spent`)
	if pod := await(t, client, "default", "more", "there", func(*corev1.Pod) bool { return true }); pod.DeletionTimestamp != nil {
		t.Error("another account's pod was ended")
	}
	refused(`budget acme of account acme is spent`, "-n", "shop", "create", "-f", more)
	mustMatch(t, ok("get", "accountbudgets"), `NAME +ACCOUNT +STATE .*\nacme +acme +Stopping`)
	mustMatch(t, swell("budget", "rm", "acme", "--accounts"), `accountbudget/acme removed`)
	ok("-n", "shop", "create", "-f", more)
}

// TestSavingsPlanIsBought: a purchase with the real kubectl and by swell, which stands, and its return.
func TestSavingsPlanIsBought(t *testing.T) {
	ctx := t.Context()
	swell := func(want string, args ...string) {
		t.Helper()
		out, err := runSwell(ctx, shared, args...)
		if err != nil {
			t.Fatalf("swell %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		mustMatch(t, out, want)
	}
	refused := func(stdin, want string, args ...string) {
		t.Helper()
		if out, code := kubectlCode(t, stdin, args...); code == 0 || !strings.Contains(out, want) {
			t.Errorf("kubectl %s: exit %d, want %q in\n%s", strings.Join(args, " "), code, want, out)
		}
	}
	year := fmt.Sprint("year-", time.Now().UnixMilli()) // a plan stays, and so does its name
	swell(`nothing is bought\nplan +year-\d+\nphase +Queued\ncommitment +120 CNY per day\ndiscount +55%`, "bill", "plan", "buy", year, "--offer", "day-1y", "--commitment", "120", "--dry-run")
	swell(`savingsplan/year-\d+ bought: 120 CNY per day from \d{4}-\d\d-\d\d for 365 days\nit can be returned until `, "bill", "plan", "buy", year, "--offer", "day-1y", "--commitment", "120", "--zone", "Asia/Shanghai")
	plan := `apiVersion: swell.dev/v1alpha1
kind: SavingsPlan
metadata: {name: NAME}
spec: {offer: day-1y, commitment: "120"}
`
	refused(strings.NewReplacer("NAME", "other", "day-1y", "gold").Replace(plan), `spec.offer: Invalid value: "gold": isn't offered; the price book offers `, "create", "-f", "-")
	refused("", `spec.commitment: Invalid value: "5": is fixed: a plan that is bought doesn't change`, "patch", "savingsplan", year, "--type=merge", "-p", `{"spec":{"commitment":"5"}}`)
	refused("", "it is a record of what was bought", "delete", "savingsplan", year)
	mustMatch(t, kubectl(t, "get", "savingsplans"), `NAME +PHASE +COMMITMENT +PER +DISCOUNT +START +DAYS +USED +AGE\n(.*\n)*year-\d+ +Queued +120 CNY +day +55% +\d{4}-\d\d-\d\d +365 +<none>`)
	mustMatch(t, kubectl(t, "explain", "savingsplan.spec"), `commitment`)
	swell(`savingsplan/year-\d+-renewal bought: 120 CNY per day`, "bill", "plan", "renew", year)
	swell(`year-\d+-renewal +Queued +120 +CNY +day +55% .* year-\d+`, "bill", "plan", "ls")
	swell(`savingsplan/year-\d+-renewal returned`, "bill", "plan", "return", year+"-renewal")
	swell(`savingsplan/year-\d+ returned`, "bill", "plan", "return", year)
	if out, err := runSwell(ctx, shared, "bill", "plan", "return", year); err == nil || !strings.Contains(out, "it was returned at") {
		t.Errorf("%v: %s", err, out)
	}
	swell(`phase +Returned`, "bill", "plan", "show", year)
	if out, err := runSwell(ctx, shared, "bill", "recommend"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
