"""How a study's report is to be read: what each of its words means."""

# Of the table of rows, which other reports have too.
ROWS = (
    "throughput: the variant's over the reference's, the geometric mean of blocks in which the two take turns, "
    "loaded side by side in one process. Offline and in Server it is samples/s with all sessions busy, in the "
    "batches of either; in the streams one over the percentile of a query's latency. 95 %: Student's t on the "
    "logarithms of the blocks' ratios, by the spread of those that told how many there had to be (Stein); one "
    "block has none, and where it is compared it has the spread of single blocks. Of several processes "
    "(repetitions, or what a budget had time for) it is Student's t on their ratios; of one it does not say how "
    "much another would differ. The reference's own row is the reference against itself, the noise floor: what "
    "is surely faster is beyond it.",
    'recipes: README, "Optimizations", has all of them. quantize:int8 is INT8 weights and activations, scales by '
    "training images: granularity=tensor one for each tensor and not for each channel, range=reduced weights of "
    "7 bits, scale=power-of-two scales without a multiplier, scales=dynamic ranges found at run time. prune:0.3 "
    "sets the smallest 30 % of the weights to zero, cluster:8 leaves each layer 2^8 values, fuse:level=off is "
    "the reference without the runtime's graph optimizations. A session is one loaded copy of the model.",
    "What an emulate: recipe makes has an accuracy, and no throughput of its own; a type that the processor "
    "widens to float32 has one that counts nowhere.",
    "accuracy: the workload's own metric in percent, top-1 of a classifier and of a detector COCO's mAP (IoU 0.50 to "
    "0.95). Points: against the reference on the same samples, of top-1 with Newcombe's interval and of mAP with that "
    "of a paired bootstrap over images; p: McNemar's exact test, of mAP by the spread of the draws, by Holm for all "
    "rows of the study together; changed: answers that are not the reference's; worst class: what the class that lost "
    "most lost. A detector's answer to an image is right where what it shows, with a score of 0.5 or more, are the "
    "image's objects and nothing else (IoU of 0.5 or more), and changed where two sides do not show the same; what "
    "changes with the batch is told by any bit of an answer, as the law compares them.",
    "counts?: the verdict of full runs through LoadGen where there were some; else whether the target was met "
    "when it was measured. In Server a full run is at the highest load that was found. A full run is not in turn "
    "with the reference's and is served as its own search chose, turns as is best for the reference: the "
    "quotient of two full runs may lie outside the interval. Ran as: the share of the multiply-accumulates that "
    "ran in each type, by the runtime's own profile where it has one.",
)
READING = (
    *ROWS,
    "counts for: the throughput where full runs count, 0 where they do not, and not judged where there were "
    "none. Certified: the lower end of its interval, where the loss is certified too. Right answers/s: of the "
    "full run, in Server those within the limit. Loss: certified to be within what the target allows, a "
    "regression certified to be beyond it, or neither, and how many samples could tell; each row's certificate "
    "is at 95 %, and by itself means not for all rows of the study together (Holm). Smallest change it would "
    "show: of the throughput, by an interval as wide. Wrong answers: over the reference's, with the interval of "
    "paired counts (Bonett and Price). Ranks: ✗ is worth nothing, ? had no full runs, or none that LoadGen calls "
    "valid.",
    "pictures: green counts, red is worth nothing, grey had no full runs, or none that LoadGen calls valid; a "
    "triangle lies deeper than is drawn; the line joins what nothing else beats in both.",
    "where it is from: a linked throughput or accuracy leads to its cell, which has every block; its answers are "
    "in the .npz beside it, and points, p, changed and classes are computed from these ([ledger.csv](ledger.csv) "
    "has them by class and by confidence; of a detector a class has its objects, found or not, beside the difference "
    "of its average precision, and a fifth of confidence has images). A full run's figure leads to its verdict, with "
    "LoadGen's own logs beside it. [study.csv](study.csv) has every figure and every inversion (inverted_with: what "
    "may count and is surely slower than what is worth nothing), [study.json](study.json) the machine and its "
    "packages.",
)
