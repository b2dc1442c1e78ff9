// Conditions over delegates' tags: docs/formats.md, section 2. A condition is read by taking it apart at its weakest word.
import { refuse } from "./bytes.mjs";

const LONGEST = 1024, MOST_TAGS = 64, DEEPEST = 16;
const WORD = /[()]|[^()\t-\r\x1c-\x20]+/g;

/** Trees are tags, or [word, ...parts] where no part is a tree of the same word. */
export function parseCondition(text) {
  if ([...text].length > LONGEST) refuse("malformed", "condition: too long");
  const words = (text.match(WORD) ?? []).map((word) => (/^(and|or|not)$/i.test(word) ? word.toLowerCase() : word));
  if (words.filter((word) => !"and or not ( )".split(" ").includes(word)).length > MOST_TAGS) refuse("malformed", "condition: tags");
  const tree = takenApart(words, 0);
  if (written(tree).length > LONGEST) refuse("malformed", "condition: too long in its canonical form");
  return tree;
}

function takenApart(words, depth) {
  if (depth > DEEPEST) refuse("malformed", "condition: too deep");
  for (const operator of ["or", "and"]) {
    const parts = apart(words, operator);
    if (parts.length > 1) {
      // What is joined by the same word needs no bracket.
      return [operator, ...parts.flatMap((part) => {
        const tree = takenApart(part, depth);
        return tree[0] === operator ? tree.slice(1) : [tree];
      })];
    }
  }
  const [first, ...rest] = words;
  if (first === "not") {
    const inner = takenApart(rest, depth + 1);
    return isTree(inner) && inner[0] === "not" ? inner[1] : ["not", inner];
  }
  if (first === "(" && words.at(-1) === ")") return takenApart(words.slice(1, -1), depth + 1);
  if (words.length !== 1 || !/^[0-9A-Za-z_.:=/@+-]{1,128}$/.test(first)) refuse("malformed", "condition: no tag");
  return first.toLowerCase();
}

const isTree = (tree) => Array.isArray(tree);

/** The words between those operators that stand in no bracket. */
function apart(words, operator) {
  const parts = [[]];
  let open = 0;
  for (const word of words) {
    open += { "(": 1, ")": -1 }[word] ?? 0;
    if (open < 0) refuse("malformed", "condition: a bracket too many");
    if (word === operator && open === 0) parts.push([]);
    else parts.at(-1).push(word);
  }
  if (open) refuse("malformed", "condition: an open bracket");
  return parts;
}

const WEAKER = { or: [], and: ["or"], not: ["or", "and"] };

/** The one text of a condition. */
export function written(tree) {
  if (!isTree(tree)) return tree;
  const [word, ...parts] = tree;
  const texts = parts.map((part) => (isTree(part) && WEAKER[word].includes(part[0]) ? `(${written(part)})` : written(part)));
  return word === "not" ? `not ${texts[0]}` : texts.join(` ${word} `);
}

/** Whether it holds for a delegate with those tags. */
export function holds(tree, tags) {
  if (!isTree(tree)) return tags.includes(tree);
  const [word, ...parts] = tree;
  const found = parts.map((part) => holds(part, tags));
  return { or: found.some(Boolean), and: found.every(Boolean), not: !found[0] }[word];
}
