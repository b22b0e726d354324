// A wallet on cashu-ts, as its guide says to write one: one operation a run, and what it prints is one JSON object, amounts as
// decimal strings. Its tokens are kept in `wallet.json` of the working directory.
//
//   node cashu-ts.mjs MINT UNIT claim PRIVATE_KEY   claims what is on the quote of this key (NUT-20)
//   node cashu-ts.mjs MINT UNIT send AMOUNT         makes a token; `swapped` says that the mint was asked for change
//   node cashu-ts.mjs MINT UNIT receive TOKEN       swaps somebody's token for own ones
//   node cashu-ts.mjs MINT UNIT melt INVOICE         redeems for an invoice of the mint's (BOLT 11)
//   node cashu-ts.mjs MINT UNIT states [TOKEN]      what the mint says about a token, or about the wallet's own

import { createECDH } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { Wallet, deserializeProofs, getEncodedToken, serializeProofs, sumProofs } from "@cashu/cashu-ts";

const FILE = "wallet.json";
const METHOD = "ehash";

const [mint, unit, operation, argument] = process.argv.slice(2);
const wallet = new Wallet(mint, { unit });

const operations = { claim, send, receive, melt, states };
await wallet.loadMint();
console.log(JSON.stringify(await operations[operation](argument)));

async function claim(privkey) {
  const keys = createECDH("secp256k1");
  keys.setPrivateKey(privkey, "hex");
  const pubkey = keys.getPublicKey("hex", "compressed");
  const quote = await wallet.createMintQuote(METHOD, { pubkey });
  // Asking for it again must give the same.
  const { amount_paid, amount_issued } = await wallet.checkMintQuote(METHOD, quote);
  const claimed = amount_paid.subtract(amount_issued);
  if (!claimed.isZero()) {
    const preview = await wallet.prepareMint(METHOD, claimed, quote, { privkey });
    store([...stored(), ...(await wallet.completeMint(preview))]);
  }
  return { quote: quote.quote, claimed, balance: sumProofs(stored()) };
}

async function send(amount) {
  const before = stored();
  const { keep, send } = await wallet.send(amount, before);
  store(keep);
  const known = new Set(before.map((proof) => proof.secret));
  const swapped = send.some((proof) => !known.has(proof.secret));
  return { token: getEncodedToken({ mint, unit, proofs: send }), swapped, balance: sumProofs(keep) };
}

async function receive(token) {
  const received = await wallet.receive(token, { requireDleq: true });
  store([...stored(), ...received]);
  return { received: sumProofs(received), balance: sumProofs(stored()) };
}

async function melt(invoice) {
  const quote = await wallet.createMeltQuoteBolt11(invoice);
  const { keep, send } = await wallet.send(quote.amount.add(quote.fee_reserve), stored(), { includeFees: true });
  store(keep);
  const melted = await wallet.meltProofsBolt11(quote, send);
  store([...keep, ...melted.change]);
  return { state: melted.quote.state, spent: quote.amount, balance: sumProofs(stored()) };
}

async function states(token) {
  const proofs = token === undefined ? stored() : wallet.decodeToken(token).proofs;
  const groups = await wallet.groupProofsByState(proofs);
  return Object.fromEntries(Object.entries(groups).map(([state, group]) => [state, sumProofs(group)]));
}

function stored() {
  return existsSync(FILE) ? deserializeProofs(JSON.parse(readFileSync(FILE, "utf8"))) : [];
}

function store(proofs) {
  writeFileSync(FILE, JSON.stringify(serializeProofs(proofs)));
}
