-- Agreement of reviewers
-- chart: table
SELECT reviewer, other_reviewer, checks, agreement, cohens_kappa, krippendorffs_alpha
FROM dashboard.reviewer_agreement ORDER BY checks DESC;
