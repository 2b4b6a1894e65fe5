-- ARGV[3] the record. Answers 1 if it is stored, 0 if the key is taken: also by what is left of an ended
-- session, whose entry in the index is perhaps being removed, and would be the new one's.
if done() then return 1 end
if found then return 0 end
remember()
write(parts(ARGV[3]))
return 1
