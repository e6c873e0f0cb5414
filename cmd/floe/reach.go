package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/floefs/floe/engine/node"
)

// reach says which addresses nodes over HTTP may have, and how they are
// reached.
type reach struct {
	nets  netList
	proxy proxyURL
}

// reachFlags declares the flags that set it.
func (r *reach) reachFlags(f *flags) {
	f.Var(&r.nets, "allow-net", "let a committee file that is not yours alone name nodes in `NET`:\nCIDR, loopback or private; repeat it for more")
	f.Var(&r.proxy, "proxy", "reach http:// and https:// nodes through the proxy at `URL`")
}

// network returns what the nodes of a committee file are reached by. The
// user's own file may name nodes anywhere; another's may not make this machine
// ask what the one who wrote it could not: itself, and its neighbours.
func (r *reach) network(path string, own bool) *node.Network {
	o := &node.NetworkOptions{Nets: node.AnyNet}
	switch {
	case r.proxy.URL != nil:
		// All connections go to the proxy, which was named by the user.
		o.Proxy = http.ProxyURL(r.proxy.URL)
	case !own:
		o.Nets = r.nets.nets
		o.Advice = "; --allow-net allows it to " + path + ", which others than you can write"
	}
	return node.NewNetwork(o)
}

// A netList is a flag: networks.
type netList struct {
	text []string
	nets []netip.Prefix
}

// The networks that have names.
var namedNets = map[string][]string{
	"loopback": {"127.0.0.0/8", "::1/128"},
	"private":  {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"},
}

func (l *netList) String() string { return strings.Join(l.text, ",") }
func (l *netList) Type() string   { return "net" }

// Set implements pflag.Value: it adds networks, with commas between them.
func (l *netList) Set(text string) error {
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		list, named := namedNets[word]
		if !named {
			list = []string{word}
		}
		for _, one := range list {
			p, err := netip.ParsePrefix(one)
			if addr, e := netip.ParseAddr(one); e == nil {
				p, err = addr.Prefix(addr.BitLen())
			}
			if err != nil {
				return fmt.Errorf("%q is not a network: write 10.0.0.0/8, an address, loopback or private", word)
			}
			l.nets = append(l.nets, p.Masked())
		}
		l.text = append(l.text, word)
	}
	return nil
}

// A proxyURL is a flag: where a proxy is.
type proxyURL struct{ *url.URL }

func (p *proxyURL) Type() string { return "url" }

func (p *proxyURL) String() string {
	if p.URL == nil {
		return ""
	}
	return p.Redacted()
}

// Set implements pflag.Value.
func (p *proxyURL) Set(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5" {
		return fmt.Errorf("%q is not a proxy: write http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT", text)
	}
	p.URL = u
	return nil
}
