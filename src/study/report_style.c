#include "study/report.h"

/* The style sheet and the script of report.html. The script sorts and filters the table, draws the maps and
 * recolours the large one; the page can be read without it. It inserts no text into the page as markup. */

const char *const cpt_report_css[] = {
    ":root{--bg:#fff;--fg:#1c2127;--mute:#66707b;--line:#d9dee3;--soft:#f4f6f8;--link:#1d5fa8;--pos:#c8511b;--neg:#2a6fb0;"
    "--bar:#6d8fb3;--cut:#9aa3ad;--off:#d5dade;--flag:#8a4b08;--flagbg:#fdf0dc;--uniq:#0b6b57;--uniqbg:#dff3ee}",
    "@media(prefers-color-scheme:dark){:root{--bg:#14181d;--fg:#e2e6ea;--mute:#929ca6;--line:#323a43;--soft:#1d232a;"
    "--link:#7db4ec;--pos:#f08c4f;--neg:#69a7e0;--bar:#5c80a8;--cut:#5c6670;--off:#39424b;--flag:#f0bd78;--flagbg:#3b2c14;"
    "--uniq:#7fd6c0;--uniqbg:#123a32}}",
    "*{box-sizing:border-box}html{scroll-padding-top:54px}body{margin:0;background:var(--bg);color:var(--fg);"
    "font:14px/1.45 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}",
    "header{position:sticky;top:0;z-index:5;display:flex;gap:24px;align-items:baseline;background:var(--bg);"
    "border-bottom:1px solid var(--line);padding:10px 24px}h1{font-size:17px;margin:0;overflow-wrap:anywhere}"
    "nav{display:flex;gap:18px;flex-wrap:wrap}a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}",
    "main{max-width:1480px;margin:0 auto;padding:14px 24px 60px}h2{font-size:19px;margin:34px 0 10px}h3{font-size:16px;"
    "margin:22px 0 6px}h4{font-size:13px;margin:0 0 2px}small{color:var(--mute);font-size:.88em;font-weight:400}"
    ".note{color:var(--mute);font-size:12.5px;margin:4px 0 10px}.lead{font-size:15.5px;max-width:82em}",
    ".chip{display:inline-block;background:var(--soft);border:1px solid var(--line);border-radius:6px;padding:1px 8px;"
    "margin:2px 2px 2px 0;font-size:13px}",
    "table{border-collapse:collapse;font-size:12.5px;font-variant-numeric:tabular-nums;width:100%}th{text-align:left;"
    "font-weight:600;color:var(--mute);border-bottom:1px solid var(--line);padding:3px 6px;vertical-align:bottom}"
    "td{padding:2.5px 6px;border-bottom:1px solid var(--line);vertical-align:top}.r{text-align:right;white-space:nowrap}"
    ".m{color:var(--mute)}.card td{border-bottom-color:transparent}.card tbody tr:hover{background:var(--soft)}",
    ".explore{display:grid;grid-template-columns:minmax(0,1fr) 400px;gap:24px}.mapin{position:sticky;top:58px}"
    "#map{width:100%;height:380px;display:block}.by{display:block;margin-bottom:6px;color:var(--mute)}select,input{font:inherit;"
    "color:var(--fg);background:var(--bg);border:1px solid var(--line);border-radius:6px;padding:3px 8px;max-width:300px}",
    ".tools{display:flex;gap:14px;align-items:center;margin-bottom:6px;color:var(--mute)}#filter{width:260px}"
    ".scroll{max-height:640px;overflow:auto;border:1px solid var(--line);border-radius:8px}#concepts thead th{position:sticky;"
    "top:0;background:var(--soft);padding:0;z-index:1}#concepts th button{all:unset;cursor:pointer;padding:6px;display:block;"
    "white-space:nowrap}#concepts th button:focus-visible{outline:2px solid var(--link);outline-offset:-2px}",
    "th[aria-sort=ascending] button:after{content:' ▲';font-size:9px}th[aria-sort=descending] button:after{content:' ▼';"
    "font-size:9px}#concepts tbody tr{cursor:pointer}#concepts tbody tr:hover,#concepts tr.on{background:var(--soft)}"
    "#concepts tr.on td:first-child{box-shadow:inset 3px 0 var(--link)}#concepts tr.dead{color:var(--mute);cursor:default}"
    "#concepts td:first-child{white-space:nowrap}#concepts td[title]{min-width:170px}#concepts .f{"
    "white-space:normal}.show{all:unset;cursor:pointer;color:var(--mute)}.show:hover,"
    ".show:focus-visible{color:var(--link)}",
    ".dn{color:var(--neg);white-space:nowrap}.gs{font-size:12px}.gs span{color:var(--mute)}.f{display:inline-block;font-size:11px;font-weight:400;color:var(--flag);"
    "background:var(--flagbg);border-radius:4px;padding:0 5px;white-space:nowrap}.u{font-size:10.5px;color:var(--uniq);"
    "background:var(--uniqbg);border-radius:4px;padding:0 4px;white-space:nowrap}",
    ".legend{list-style:none;margin:6px 0;padding:0;display:flex;flex-wrap:wrap;gap:0 4px}.legend button{all:unset;"
    "cursor:pointer;font-size:12.5px;padding:1px 6px;border-radius:4px}.legend button:hover,.legend button:focus-visible,"
    ".legend button[aria-pressed=true]{background:var(--soft);outline:1px solid var(--line)}.legend i{display:inline-block;"
    "width:10px;height:10px;border-radius:5px;margin-right:5px;background:var(--mute)}.ramp{display:flex;gap:6px;"
    "align-items:center;font-size:12.5px}.ramp[hidden]{display:none}.ramp i{width:140px;height:10px;border-radius:2px}",
    ".cols{display:grid;grid-template-columns:repeat(auto-fit,minmax(340px,1fr));gap:8px 32px}figure{margin:0 0 6px}"
    "figcaption{font-weight:600;font-size:13px;margin-bottom:2px}.plain{margin-bottom:14px}.plot{display:block;width:100%;"
    "height:auto;max-width:520px}svg text{paint-order:stroke;stroke:var(--bg);stroke-width:3px;fill:var(--mute);font-size:11px;font-family:inherit}.ax{stroke:var(--mute);fill:none}"
    ".gl{stroke:var(--line);fill:none}.hb{fill:var(--bar)}.mk{stroke:var(--pos);fill:none;stroke-dasharray:3 2}"
    ".pt{fill:var(--bar);fill-opacity:.75;stroke:var(--bg)}a:hover .pt{fill:var(--pos)}",
    ".b{width:120px;height:12px;display:block;margin-top:2px}.b .z{stroke:var(--cut)}.b .p{fill:var(--pos)}.b .n{fill:var(--neg)}"
    ".b .c{stroke:var(--cut);stroke-dasharray:2 2}.b .w{stroke:var(--fg)}.b .t{fill:var(--soft)}.b .s{fill:var(--bar)}"
    ".b .k{stroke:var(--fg);stroke-width:1.5}",
    ".card{border-top:1px solid var(--line);padding:6px 0 22px;content-visibility:auto;contain-intrinsic-size:auto 1000px}"
    ".card h3{margin:12px 0 0}.card:target h3{box-shadow:inset 3px 0 var(--link);padding-left:8px}.stats{color:var(--mute);"
    "margin:0 0 10px}.stats b{color:var(--fg);font-weight:600}.body{display:grid;grid-template-columns:268px minmax(0,1fr);"
    "gap:24px}.where canvas{width:100%;height:260px;display:block}.two{display:grid;grid-template-columns:minmax(0,1fr) 304px"
    ";gap:6px 22px;margin-bottom:16px}.two.even{grid-template-columns:1fr 1fr}.two.one{grid-template-columns:"
    "minmax(0,760px)}.two>div{overflow-x:auto}",
    ".g{white-space:nowrap;font-weight:600}.g i{color:var(--pos);font-style:normal;font-size:9px;margin-left:4px;"
    "vertical-align:1px}.genes{font-size:12px}.genes td,.genes th,.comp td,.comp th{padding-left:3px;padding-right:4px}.genes .b{width:80px;"
    "height:10px;margin-top:3px}.comp .b{width:76px}.comp .l{"
    "overflow-wrap:anywhere}.ns td{color:var(--mute)}.tn{width:44%}.terms .gs{width:38%}.terms{margin-top:4px}.id{font-family:ui-monospace,"
    "Consolas,monospace;font-size:11.5px;overflow-wrap:anywhere}summary{cursor:pointer;color:var(--link);font-size:13px}",
    "dl,section>p{max-width:84em}dt{font-weight:600;margin-top:8px}dd{margin:0}.facts{width:auto}.facts th{font-weight:400;"
    "white-space:nowrap;vertical-align:top}.facts td{overflow-wrap:anywhere}.pre{white-space:pre-line}",
    "@media(max-width:1050px){.explore{grid-template-columns:1fr}.mapbox{order:-1}.mapin{position:static;max-width:560px}"
    ".body{grid-template-columns:1fr}.where{display:grid;grid-template-columns:repeat(auto-fit,minmax(260px,1fr));gap:12px}"
    ".two,.two.even{grid-template-columns:1fr}main,header{padding-left:14px;padding-right:14px}}",
    "@media print{header{position:static}nav,.tools,.by,.show{display:none}.scroll{max-height:none;overflow:visible}"
    ".card{content-visibility:visible;break-inside:avoid-page}.explore{display:block}}",
    NULL};

const char *const cpt_report_script[] = {
    "(function(){'use strict';\n"
    "var D=JSON.parse(document.getElementById('data').textContent);\n"
    "function bytes(s){var b=atob(s),n=b.length,a=new Uint8Array(n);for(var i=0;i<n;i++)a[i]=b.charCodeAt(i);return a}\n"
    "function u16(s){var a=bytes(s),n=a.length>>1,o=new Uint16Array(n);for(var i=0;i<n;i++)o[i]=a[2*i]|a[2*i+1]<<8;return o}\n"
    "var xy=u16(D.xy),lab=u16(D.labels),n=D.n,byId=function(i){return document.getElementById(i)};\n"
    "function active(c){var a=bytes(D.concepts[c]||''),ix=[],lv=[],at=0,p=0,v,s;while(p<a.length){v=0;s=1;"
    "for(;;){var b=a[p++];v+=(b&127)*s;if(b<128)break;s*=128}at+=v;ix.push(at);lv.push(a[p++])}return{ix:ix,lv:lv}}\n",
    "var dark=matchMedia('(prefers-color-scheme: dark)'),off,fg;\n"
    "function style(k){return getComputedStyle(document.documentElement).getPropertyValue(k).trim()}\n"
    "/* inferno, darkest to brightest; read so that strong stands out from the page */\n"
    "var stops=[[27,12,65],[74,12,107],[120,28,109],[165,44,96],[207,68,70],[237,105,37],[251,155,6],[247,209,61]];\n"
    "function ramp(t){t=dark.matches?.3+.7*t:.88*(1-t);var x=t*(stops.length-1),i=Math.min(stops.length-2,Math.floor(x)),"
    "f=x-i;return'rgb('+stops[i].map(function(v,k){return Math.round(v+f*(stops[i+1][k]-v))}).join(',')+')'}\n"
    "var hues=['#4477aa','#ee6677','#228833','#ccbb44','#66ccee','#aa3377','#ee7733','#009988','#882255','#999933','#6699cc',"
    "'#cc6677','#117733','#ddaa33','#88ccee','#661100','#44aa99','#aa4499','#997700','#994455'];\n"
    "var legend=byId('legend'),colour={},chosen='';\n"
    "if(legend)[].forEach.call(legend.querySelectorAll('button'),function(b,i){var c=i<hues.length?hues[i]:null;"
    "if(c){colour[b.dataset.l]=c;b.querySelector('i').style.background=c}"
    "b.addEventListener('click',function(){chosen=chosen===b.dataset.l?'':b.dataset.l;by.value='';select('');})});\n",
    "function frame(cv){var r=window.devicePixelRatio||1,w=cv.clientWidth,h=cv.clientHeight;cv.width=w*r;cv.height=h*r;"
    "var g=cv.getContext('2d');g.setTransform(r,0,0,r,0,0);g.clearRect(0,0,w,h);var m=5,s=Math.min(w,h)-2*m;"
    "return{g:g,w:w,x:function(i){return(w-s)/2+s*xy[2*i]/65535},y:function(i){return(h-s)/2+s*xy[2*i+1]/65535},"
    "r:Math.max(.6,Math.min(2.6,s/Math.sqrt(n)/4.2))}}\n"
    "function dot(f,i,r){f.g.beginPath();f.g.arc(f.x(i),f.y(i),r,0,6.2832);f.g.fill()}\n"
    "function speck(f,i,r){f.g.fillRect(f.x(i)-r,f.y(i)-r,2*r,2*r)}\n"
    "function drawConcept(cv,c){var f=frame(cv),a=active(c),put=n>20000?speck:dot,i;f.g.fillStyle=off;"
    "for(i=0;i<n;i++)speck(f,i,f.r*.7);var o=a.ix.map(function(v,k){return k}).sort(function(p,q){return a.lv[p]-a.lv[q]});"
    "for(i=0;i<o.length;i++){f.g.fillStyle=ramp(a.lv[o[i]]/255);put(f,a.ix[o[i]],f.r*1.15)}}\n",
    "function drawLabels(cv){var f=frame(cv),put=n>20000?speck:dot,i,p,k;for(p=0;p<2;p++)for(i=0;i<n;i++){k=''+lab[i];"
    "var on=chosen===''||k===chosen;if((p===1)!==on)continue;f.g.fillStyle=!lab.length||!(k in colour)?(on&&chosen!==''?fg:"
    "(lab.length?off:fg)):(on?colour[k]:off);put(f,i,on?f.r:f.r*.7)}name(f)}\n"
    "/* names at the median cell of each label that has at least 1 % of the cells */\n"
    "function name(f){if(!legend)return;var boxes=[];f.g.font='600 11px system-ui,sans-serif';f.g.textAlign='center';f.g.lineJoin='round';"
    "f.g.lineWidth=3.5;[].forEach.call(legend.querySelectorAll('button'),function(b){var k=b.dataset.l,xs=[],ys=[],i;"
    "if(chosen!==''&&k!==chosen)return;for(i=0;i<n;i++)if(''+lab[i]===k){xs.push(f.x(i));ys.push(f.y(i))}"
    "if(!xs.length||(chosen===''&&(xs.length<n/100||!(k in colour))))return;var o=function(a,c){return a-c};xs.sort(o);ys.sort(o);"
    "put(f,b.querySelector('span').textContent,xs[xs.length>>1],ys[ys.length>>1]+4,boxes)})}\n"
    "/* within the canvas, and below names that are there already */\n"
    "function put(f,t,x,y,boxes){var w=f.g.measureText(t).width/2+2;x=Math.max(w,Math.min(f.w-w,x));for(var k=0;k<5&&boxes.some("
    "function(b){return Math.abs(b.x-x)<b.w+w&&Math.abs(b.y-y)<12});k++)y+=12;boxes.push({x:x,y:y,w:w});"
    "f.g.strokeStyle=style('--bg');f.g.strokeText(t,x,y);f.g.fillStyle=style('--fg');f.g.fillText(t,x,y)}\n"
    "var by=byId('by'),map=byId('map');\n"
    "function select(c){c=''+c;if(c!==''&&!(c in D.concepts))return;by.value=c;if(c!=='')chosen='';"
    "var rows=document.querySelectorAll('#concepts tbody tr');[].forEach.call(rows,function(t){t.classList.toggle('on',"
    "t.dataset.c===c)});byId('ramp').hidden=c==='';if(legend){legend.hidden=false;[].forEach.call(legend.querySelectorAll("
    "'button'),function(b){b.setAttribute('aria-pressed',''+(b.dataset.l===chosen))})}"
    "if(c==='')drawLabels(map);else{byId('rampmax').textContent=by.selectedOptions[0].dataset.max;drawConcept(map,c)}}\n",
    "by.addEventListener('change',function(){chosen='';select(by.value)});\n"
    "var table=byId('concepts'),body=table.tBodies[0];\n"
    "body.addEventListener('click',function(ev){var t=ev.target.closest('tr');if(!t||ev.target.closest('a'))return;"
    "select(by.value===t.dataset.c?'':t.dataset.c)});\n"
    "function key(td){var v=td.dataset.v;if(v===undefined)return td.textContent.trim().toLowerCase();return v===''?null:+v}\n"
    "[].forEach.call(table.tHead.rows[0].cells,function(th,k){th.firstChild."
    "addEventListener('click',function(){var was=th.getAttribute('aria-sort'),first=th.classList.contains('r')?'descending':"
    "'ascending',now=was==='none'?first:was==='ascending'?'descending':'ascending',s=now==='ascending'?1:-1;"
    "[].forEach.call(table.tHead.rows[0].cells,function(o){o.setAttribute('aria-sort',o===th?now:'none')});"
    "var rows=[].map.call(body.rows,function(t,i){return{t:t,v:key(t.cells[k]),i:i}});rows.sort(function(a,b){"
    "var ea=a.v===null||a.v===''||a.v==='–',eb=b.v===null||b.v===''||b.v==='–';if(ea||eb)return ea-eb||a.i-b.i;"
    "return(a.v<b.v?-s:a.v>b.v?s:a.i-b.i)});rows.forEach(function(o){body.appendChild(o.t)})})});\n",
    "var words={},filter=byId('filter'),shown=byId('shown');\n"
    "function text(t){var c=t.dataset.c;if(!(c in words)){var w=t.textContent,card=byId('c'+c);if(card)[].forEach.call("
    "card.querySelectorAll('.g,.tn'),function(x){w+=' '+x.textContent+' '+x.title});words[c]=w.toLowerCase()}return words[c]}\n"
    "filter.addEventListener('input',function(){var q=filter.value.trim().toLowerCase(),k=0;[].forEach.call(body.rows,"
    "function(t){var hit=q===''||(/^c\\d+$/.test(q)?q==='c'+t.dataset.c:text(t).indexOf(q)>=0),card=byId('c'+t.dataset.c);"
    "t.hidden=!hit;if(card)card.hidden=!hit;k+=hit});shown.textContent=q===''?'':k+' of '+body.rows.length+' concepts'});\n"
    "document.addEventListener('mouseover',function(ev){var td=ev.target.closest&&ev.target.closest('td');if(!td||td.title)"
    "return;var tb=td.closest('table');if(!tb.tHead)return;var th=tb.tHead.rows[0].cells[td.cellIndex];"
    "if(th&&th.title)td.title=th.title});\n",
    "var small=[].slice.call(document.querySelectorAll('.card canvas')),seen=new WeakSet();\n"
    "function paint(cv){seen.add(cv);drawConcept(cv,cv.dataset.c)}\n"
    "function all(){off=style('--off');fg=style('--bar');var g=[];for(var i=0;i<=8;i++)g.push(ramp(i/8));"
    "document.querySelector('#ramp i').style.background='linear-gradient(90deg,'+g.join(',')+')';select(by.value);"
    "small.forEach(function(cv){if(seen.has(cv))paint(cv)})}\n"
    "var eye=new IntersectionObserver(function(es){es.forEach(function(x){if(x.isIntersecting&&!seen.has(x.target))"
    "paint(x.target)})},{rootMargin:'400px'});\n"
    "all();small.forEach(function(cv){eye.observe(cv)});dark.addEventListener('change',all);\n"
    "var late;window.addEventListener('resize',function(){clearTimeout(late);late=setTimeout(all,150)});\n"
    "window.addEventListener('beforeprint',function(){small.forEach(function(cv){if(!seen.has(cv))paint(cv)})});\n"
    "})();\n",
    NULL};
